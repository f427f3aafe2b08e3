// Peaks of maps on another device (a GPU), from the neighborhoods of their local maxima.
#pragma once

#include "grouping.h"

namespace simplepose {

// A local maximum: a cell that reaches the threshold and has no higher neighbor, with the map's values within two
// steps of it (Manhattan distance): rows of 1, 3, 5, 3 and 1 cells. Values beyond the border are not read.
struct Top {
    static constexpr int REACH = 2, CELLS = 13;
    Cell cell;
    float near[CELLS];
};

// Finds the peaks of each joint from all local maxima of its map in row-major order, as find_peaks does from the map.
Peaks find_peaks(const std::vector<std::vector<Top>>& tops, int height, int width, const Settings& settings,
                 Scratch& scratch);

}  // namespace simplepose
