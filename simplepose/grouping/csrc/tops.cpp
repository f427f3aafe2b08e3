// Partial maps from local maxima and their neighborhoods, and the peaks of these maps.

#include "tops.h"

#include <cstdlib>
#include <limits>

namespace simplepose {
namespace {

// Larger than all known values. Unknown cells are only read as neighbors of a plateau's cell that is not a local
// maximum itself. Such a cell has a higher neighbor, so that the plateau is correctly rejected.
constexpr float UNKNOWN = std::numeric_limits<float>::max();

// Calls visit(number, cell) for the cells of a neighborhood that are inside the map.
template <typename Visit>
void for_each_neighbor(const Top& top, const Map& map, Visit visit) {
    int number = 0;
    for (int dy = -Top::REACH; dy <= Top::REACH; ++dy) {
        const int radius = Top::REACH - std::abs(dy);
        for (int dx = -radius; dx <= radius; ++dx, ++number) {
            const Cell cell{top.cell.x + dx, top.cell.y + dy};
            if (cell.x >= 0 && cell.y >= 0 && cell.x < map.width && cell.y < map.height) visit(number, cell);
        }
    }
}

}  // namespace

Peaks find_peaks(const std::vector<std::vector<Top>>& tops, int height, int width, const Settings& settings,
                 Scratch& scratch) {
    scratch.cells.assign(static_cast<size_t>(height) * width, UNKNOWN);
    const Map map{scratch.cells.data(), height, width};
    const auto set_cell = [&](Cell cell, float value) {
        scratch.cells[static_cast<size_t>(cell.y) * width + cell.x] = value;
    };
    Peaks peaks;
    for (const std::vector<Top>& joint_tops : tops) {
        std::vector<Cell> maxima;
        for (const Top& top : joint_tops) {
            for_each_neighbor(top, map, [&](int number, Cell cell) { set_cell(cell, top.near[number]); });
            maxima.push_back(top.cell);
        }
        peaks.push_back(place_peaks(map, maxima, settings, scratch));
        for (const Top& top : joint_tops) for_each_neighbor(top, map, [&](int, Cell cell) { set_cell(cell, UNKNOWN); });
    }
    return peaks;
}

}  // namespace simplepose
