// Partial maps from local maxima and the values around them, and the peaks of these maps.

#include "local_maxima.h"

#include <cstdlib>
#include <limits>

namespace simplepose {
namespace {

// Larger than all known values. Unknown cells are only read as neighbors of a plateau's cell that is not a local
// maximum itself. Such a cell has a higher neighbor, so that the plateau is correctly rejected.
constexpr float UNKNOWN = std::numeric_limits<float>::max();

// Calls visit(index, cell) for the cells within reach of a local maximum that are inside the map.
template <typename Visit>
void for_each_cell(const LocalMaximum& maximum, const Map& map, Visit visit) {
    int index = 0;
    for (int dy = -LocalMaximum::REACH; dy <= LocalMaximum::REACH; ++dy) {
        const int radius = LocalMaximum::REACH - std::abs(dy);
        for (int dx = -radius; dx <= radius; ++dx, ++index) {
            const Cell cell{maximum.cell.x + dx, maximum.cell.y + dy};
            if (cell.x >= 0 && cell.y >= 0 && cell.x < map.width && cell.y < map.height) visit(index, cell);
        }
    }
}

}  // namespace

Peaks refine_maxima(const std::vector<std::vector<LocalMaximum>>& maxima, int height, int width,
                    const Settings& settings, Scratch& scratch) {
    scratch.cells.assign(static_cast<size_t>(height) * width, UNKNOWN);
    const Map map{scratch.cells.data(), height, width};
    const auto set_cell = [&](Cell cell, float value) {
        scratch.cells[static_cast<size_t>(cell.y) * width + cell.x] = value;
    };
    Peaks peaks;
    for (const std::vector<LocalMaximum>& joint_maxima : maxima) {
        std::vector<Cell> cells;
        for (const LocalMaximum& maximum : joint_maxima) {
            for_each_cell(maximum, map, [&](int index, Cell cell) { set_cell(cell, maximum.values[index]); });
            cells.push_back(maximum.cell);
        }
        peaks.push_back(refine_cells(map, cells, settings, scratch));
        for (const LocalMaximum& maximum : joint_maxima)
            for_each_cell(maximum, map, [&](int, Cell cell) { set_cell(cell, UNKNOWN); });
    }
    return peaks;
}

}  // namespace simplepose
