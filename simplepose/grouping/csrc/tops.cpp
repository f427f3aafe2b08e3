// Maps put together again as far as their tops tell of them, and their peaks.

#include "tops.h"

#include <cstdlib>
#include <limits>

namespace simplepose {
namespace {

// Higher than all that is known. Only what touches a plateau's cell that is no top is looked at without being
// known, and such a cell is no top because something higher touches it.
constexpr float UNKNOWN = std::numeric_limits<float>::max();

// Calls visit(number, cell) for the cells of a top that lie on the map.
template <typename Visit>
void each_near(const Top& top, const Map& map, Visit visit) {
    int number = 0;
    for (int dy = -Top::REACH; dy <= Top::REACH; ++dy) {
        const int reach = Top::REACH - std::abs(dy);
        for (int dx = -reach; dx <= reach; ++dx, ++number) {
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
    const auto put = [&](Cell cell, float value) {
        scratch.cells[static_cast<size_t>(cell.y) * width + cell.x] = value;
    };
    Peaks peaks;
    for (const std::vector<Top>& of_joint : tops) {
        std::vector<Cell> places;
        for (const Top& top : of_joint) {
            each_near(top, map, [&](int number, Cell cell) { put(cell, top.near[number]); });
            places.push_back(top.cell);
        }
        peaks.push_back(place_peaks(map, places, settings, scratch));
        for (const Top& top : of_joint) each_near(top, map, [&](int, Cell cell) { put(cell, UNKNOWN); });
    }
    return peaks;
}

}  // namespace simplepose
