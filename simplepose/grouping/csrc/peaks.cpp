// Peaks: the local maxima of a heatmap, refined to subcell positions.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "grouping.h"

namespace simplepose {

double Map::at(int x, int y) const {
    const float value = cells[static_cast<long>(y) * width + x];
    return std::isfinite(value) ? value : 0.0;
}

namespace {

constexpr double LOG_FLOOR = 1e-3;  // smallest value for logarithms, relative to the peak

// Computes the offset of the peak from cell `position` along an axis of `size` cells; `value(i)` reads cell i.
// A Gaussian's logarithm is a parabola. The vertex of the parabola through the logarithms of three cells is
// therefore exact for a Gaussian. At the border these are the three outermost cells.
template <typename Value>
double offset_along(int position, int size, Value value) {
    if (size < 3) return 0.0;
    const int middle = std::clamp(position, 1, size - 2);
    const double floor = LOG_FLOOR * value(position);
    const auto log_at = [&](int i) { return std::log(std::max(value(i), floor)); };
    const double left = log_at(middle - 1), right = log_at(middle + 1);
    const double curvature = left - 2 * log_at(middle) + right;
    if (curvature >= 0) return 0.0;
    return std::clamp(middle + 0.5 * (left - right) / curvature - position, -0.5, 0.5);
}

Peak refine(const Map& map, Cell cell) {
    const double dx = offset_along(cell.x, map.width, [&](int x) { return map.at(x, cell.y); });
    const double dy = offset_along(cell.y, map.height, [&](int y) { return map.at(cell.x, y); });
    return {cell.x + dx, cell.y + dy, map.at(cell.x, cell.y)};
}

// Calls visit(neighbor) for the up to eight cells around `cell`.
template <typename Visit>
void for_each_neighbor(const Map& map, Cell cell, Visit visit) {
    for (int y = std::max(cell.y - 1, 0); y <= std::min(cell.y + 1, map.height - 1); ++y)
        for (int x = std::max(cell.x - 1, 0); x <= std::min(cell.x + 1, map.width - 1); ++x)
            if (x != cell.x || y != cell.y) visit(Cell{x, y});
}

// A peak that is not refined yet, or the refined peak of a plateau.
struct PeakCandidate {
    Peak peak;
    int order;  // order of discovery
    bool is_refined;

    bool operator<(const PeakCandidate& other) const {  // better is less: the top of the heap is the worst
        return std::tie(other.peak.score, order) < std::tie(peak.score, other.order);
    }
};

// Keeps the best `max_count` candidates.
class BestPeaks {
public:
    explicit BestPeaks(int max_count) : max_count_(static_cast<size_t>(max_count)) {}

    void add(const Peak& peak, bool is_refined) {
        const PeakCandidate candidate{peak, num_added_++, is_refined};
        if (heap_.size() == max_count_) {
            if (!(candidate < heap_.front())) return;
            std::pop_heap(heap_.begin(), heap_.end());
            heap_.pop_back();
        }
        heap_.push_back(candidate);
        std::push_heap(heap_.begin(), heap_.end());
    }

    std::vector<Peak> refine_all(const Map& map) {
        std::sort_heap(heap_.begin(), heap_.end());
        std::vector<Peak> peaks;
        for (const auto& [peak, order, is_refined] : heap_)
            peaks.push_back(is_refined ? peak : refine(map, {static_cast<int>(peak.x), static_cast<int>(peak.y)}));
        return peaks;
    }

private:
    size_t max_count_;
    int num_added_ = 0;
    std::vector<PeakCandidate> heap_;
};

// Adds the peak of the plateau around `start`, the mean of its refined cells, unless the plateau has a higher
// neighbor. Marks its cells as visited.
void add_plateau(const Map& map, Cell start, Scratch& scratch, BestPeaks& best) {
    const auto visited_flag = [&](Cell cell) -> char& {
        return scratch.visited[static_cast<size_t>(cell.y) * map.width + cell.x];
    };
    if (visited_flag(start)) return;
    const double level = map.at(start.x, start.y);
    bool highest = true;
    auto& plateau = scratch.plateau;
    plateau.assign(1, start);
    visited_flag(start) = 1;
    Peak sum{0, 0, level};
    for (size_t i = 0; i < plateau.size(); ++i) {
        const Peak part = refine(map, plateau[i]);
        sum.x += part.x;
        sum.y += part.y;
        for_each_neighbor(map, plateau[i], [&](Cell cell) {
            const double value = map.at(cell.x, cell.y);
            if (value > level) highest = false;
            if (value == level && !visited_flag(cell)) {
                visited_flag(cell) = 1;
                plateau.push_back(cell);
            }
        });
    }
    const double count = static_cast<double>(plateau.size());
    if (highest) best.add({sum.x / count, sum.y / count, level}, true);
}

// Adds the peak of `cell`, which reaches the threshold, or of its plateau, if it is a local maximum.
void add_cell(const Map& map, Cell cell, Scratch& scratch, BestPeaks& best) {
    const double value = map.at(cell.x, cell.y);
    int higher = 0, equal = 0;
    for_each_neighbor(map, cell, [&](Cell other) {
        const double neighbor = map.at(other.x, other.y);
        higher += neighbor > value;
        equal += neighbor == value;
    });
    if (higher) return;
    if (!equal) return best.add({1.0 * cell.x, 1.0 * cell.y, value}, false);
    if (scratch.visited.empty()) scratch.visited.assign(static_cast<size_t>(map.height) * map.width, 0);
    add_plateau(map, cell, scratch, best);
}

constexpr int BLOCK = 16;  // cells that are tested together: most maps are nearly empty

bool any_reaches(const float* cells, int count, float threshold) {
    int reached = 0;
    for (int i = 0; i < count; ++i) reached |= cells[i] >= threshold;
    return reached != 0;
}

}  // namespace

std::vector<Peak> find_peaks(const Map& map, const Settings& settings, Scratch& scratch) {
    scratch.visited.clear();
    BestPeaks best(settings.max_peaks);
    const float threshold = static_cast<float>(settings.peak_threshold);
    for (int y = 0; y < map.height; ++y) {
        const float* row = map.cells + static_cast<long>(y) * map.width;
        for (int begin = 0; begin < map.width; begin += BLOCK) {
            const int end = std::min(begin + BLOCK, map.width);
            if (!any_reaches(row + begin, end - begin, threshold)) continue;
            for (int x = begin; x < end; ++x)
                if (row[x] >= threshold && std::isfinite(row[x])) add_cell(map, {x, y}, scratch, best);
        }
    }
    return best.refine_all(map);
}

std::vector<Peak> refine_cells(const Map& map, const std::vector<Cell>& maxima, const Settings& settings,
                               Scratch& scratch) {
    scratch.visited.clear();
    BestPeaks best(settings.max_peaks);
    for (const Cell& cell : maxima) add_cell(map, cell, scratch, best);
    return best.refine_all(map);
}

}  // namespace simplepose
