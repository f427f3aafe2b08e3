// Joints: the local maxima of a keypoint map, placed between its cells.

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

constexpr double LOG_FLOOR = 1e-3;  // logarithms are taken of values no smaller than this share of the peak

// The offset of the top from cell `position` of `size` along one axis; `value(i)` reads the map at cell i.
// A Gaussian's logarithm is a parabola, so the top of the one through three cells' logarithms is exact for
// a joint that was drawn as a Gaussian. At the border these are the three cells nearest to it.
template <typename Value>
double offset_along(int position, int size, Value value) {
    if (size < 3) return 0.0;
    const int middle = std::clamp(position, 1, size - 2);
    const double floor = LOG_FLOOR * value(position);
    const auto log_at = [&](int i) { return std::log(std::max(value(i), floor)); };
    const double left = log_at(middle - 1), right = log_at(middle + 1);
    const double bend = left - 2 * log_at(middle) + right;
    if (bend >= 0) return 0.0;
    return std::clamp(middle + 0.5 * (left - right) / bend - position, -0.5, 0.5);
}

Peak refined(const Map& map, Cell cell) {
    const double dx = offset_along(cell.x, map.width, [&](int x) { return map.at(x, cell.y); });
    const double dy = offset_along(cell.y, map.height, [&](int y) { return map.at(cell.x, y); });
    return {cell.x + dx, cell.y + dy, map.at(cell.x, cell.y)};
}

// Calls visit(neighbour) for the up to eight cells around `cell`.
template <typename Visit>
void around(const Map& map, Cell cell, Visit visit) {
    for (int y = std::max(cell.y - 1, 0); y <= std::min(cell.y + 1, map.height - 1); ++y)
        for (int x = std::max(cell.x - 1, 0); x <= std::min(cell.x + 1, map.width - 1); ++x)
            if (x != cell.x || y != cell.y) visit(Cell{x, y});
}

// A peak whose place between the cells is still to be found, unless it is a plateau's.
struct Candidate {
    Peak peak;
    int order;  // of finding
    bool placed;

    bool operator<(const Candidate& other) const {  // the better one is less: a heap's top is the worst
        return std::tie(other.peak.score, order) < std::tie(peak.score, other.order);
    }
};

// The best `most` candidates of all that were added.
class Best {
public:
    explicit Best(int most) : most_(static_cast<size_t>(most)) {}

    void add(const Peak& peak, bool placed) {
        const Candidate candidate{peak, added_++, placed};
        if (heap_.size() == most_) {
            if (!(candidate < heap_.front())) return;
            std::pop_heap(heap_.begin(), heap_.end());
            heap_.pop_back();
        }
        heap_.push_back(candidate);
        std::push_heap(heap_.begin(), heap_.end());
    }

    std::vector<Peak> placed_on(const Map& map) {
        std::sort_heap(heap_.begin(), heap_.end());
        std::vector<Peak> peaks;
        for (const auto& [peak, order, placed] : heap_)
            peaks.push_back(placed ? peak : refined(map, {static_cast<int>(peak.x), static_cast<int>(peak.y)}));
        return peaks;
    }

private:
    size_t most_;
    int added_ = 0;
    std::vector<Candidate> heap_;
};

// Adds the peak of the plateau that `start` lies on, the mean of its refined cells, unless something
// higher touches it. Its cells are marked as seen.
void add_plateau(const Map& map, Cell start, Scratch& scratch, Best& best) {
    const auto mark = [&](Cell cell) -> char& {
        return scratch.seen[static_cast<size_t>(cell.y) * map.width + cell.x];
    };
    if (mark(start)) return;
    const double level = map.at(start.x, start.y);
    bool highest = true;
    auto& plateau = scratch.plateau;
    plateau.assign(1, start);
    mark(start) = 1;
    Peak sum{0, 0, level};
    for (size_t i = 0; i < plateau.size(); ++i) {
        const Peak part = refined(map, plateau[i]);
        sum.x += part.x;
        sum.y += part.y;
        around(map, plateau[i], [&](Cell cell) {
            const double value = map.at(cell.x, cell.y);
            if (value > level) highest = false;
            if (value == level && !mark(cell)) {
                mark(cell) = 1;
                plateau.push_back(cell);
            }
        });
    }
    const double count = static_cast<double>(plateau.size());
    if (highest) best.add({sum.x / count, sum.y / count, level}, true);
}

// Adds what `cell`, which reaches the threshold, is the top of, if of anything.
void add_cell(const Map& map, Cell cell, Scratch& scratch, Best& best) {
    const double value = map.at(cell.x, cell.y);
    int higher = 0, level = 0;
    around(map, cell, [&](Cell other) {
        const double there = map.at(other.x, other.y);
        higher += there > value;
        level += there == value;
    });
    if (higher) return;
    if (!level) return best.add({1.0 * cell.x, 1.0 * cell.y, value}, false);
    if (scratch.seen.empty()) scratch.seen.assign(static_cast<size_t>(map.height) * map.width, 0);
    add_plateau(map, cell, scratch, best);
}

constexpr int BLOCK = 16;  // cells that are looked at together: most maps are nearly empty

bool any_reaches(const float* cells, int count, float threshold) {
    int reached = 0;
    for (int i = 0; i < count; ++i) reached |= cells[i] >= threshold;
    return reached != 0;
}

}  // namespace

std::vector<Peak> find_peaks(const Map& map, const Settings& settings, Scratch& scratch) {
    scratch.seen.clear();
    Best best(settings.max_peaks);
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
    return best.placed_on(map);
}

std::vector<Peak> place_peaks(const Map& map, const std::vector<Cell>& tops, const Settings& settings,
                              Scratch& scratch) {
    scratch.seen.clear();
    Best best(settings.max_peaks);
    for (const Cell& cell : tops) add_cell(map, cell, scratch, best);
    return best.placed_on(map);
}

}  // namespace simplepose
