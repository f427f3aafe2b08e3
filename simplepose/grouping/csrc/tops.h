// Peaks of maps that lie elsewhere (on a GPU), from the few of their cells that peaks are made of.
#pragma once

#include "grouping.h"

namespace simplepose {

// A cell that reaches the threshold and that nothing beside it exceeds, with the map's values within two steps of it:
// row after row, of 1, 3, 5, 3 and 1 cells. Those beyond the border are not read.
struct Top {
    static constexpr int REACH = 2, CELLS = 13;
    Cell cell;
    float near[CELLS];
};

// Of each joint, all tops of its map, row after row -> its peaks, as find_peaks finds them in the map itself.
Peaks find_peaks(const std::vector<std::vector<Top>>& tops, int height, int width, const Settings& settings,
                 Scratch& scratch);

}  // namespace simplepose
