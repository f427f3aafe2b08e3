// Joints: the local maxima of a keypoint map, placed between its cells.

#include <algorithm>
#include <cmath>

#include "grouping.h"

namespace simplepose {

double Map::at(int x, int y) const {
    const float value = cells[static_cast<long>(y) * width + x];
    return std::isfinite(value) ? value : 0.0;
}

namespace {

constexpr double LOG_FLOOR = 1e-3;  // logarithms are taken of values no smaller than this share of the peak

struct Cell {
    int x, y;
};

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

// Adds the peak of the plateau that `start` lies on, the mean of its refined cells, unless something
// higher touches it. Marks its cells in `seen`.
void add_plateau(const Map& map, Cell start, std::vector<char>& seen, std::vector<Peak>& peaks) {
    seen.resize(static_cast<size_t>(map.height) * map.width);
    const auto mark = [&](Cell cell) -> char& { return seen[static_cast<size_t>(cell.y) * map.width + cell.x]; };
    if (mark(start)) return;
    const double level = map.at(start.x, start.y);
    bool highest = true;
    std::vector<Cell> plateau{start};
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
    if (highest) peaks.push_back({sum.x / count, sum.y / count, level});
}

}  // namespace

std::vector<Peak> find_peaks(const Map& map, const Settings& settings) {
    std::vector<Peak> peaks;
    std::vector<char> seen;  // cells of plateaus that were walked already
    const float threshold = static_cast<float>(settings.peak_threshold);
    for (int y = 0; y < map.height; ++y) {
        const float* row = map.cells + static_cast<long>(y) * map.width;
        for (int x = 0; x < map.width; ++x) {
            if (!(row[x] >= threshold) || !std::isfinite(row[x])) continue;
            int higher = 0, level = 0;
            around(map, {x, y}, [&](Cell cell) {
                higher += map.at(cell.x, cell.y) > row[x];
                level += map.at(cell.x, cell.y) == row[x];
            });
            if (higher) continue;
            if (level)
                add_plateau(map, {x, y}, seen, peaks);
            else
                peaks.push_back(refined(map, {x, y}));
        }
    }
    std::stable_sort(peaks.begin(), peaks.end(), [](const Peak& a, const Peak& b) { return a.score > b.score; });
    if (peaks.size() > static_cast<size_t>(settings.max_peaks)) peaks.resize(settings.max_peaks);
    return peaks;
}

}  // namespace simplepose
