// Peaks of maps on another device (a GPU), from the values around their local maxima.
#pragma once

#include "grouping.h"

namespace simplepose {

// A cell that reaches the threshold and has no higher neighbor, with the map's values within two steps of it (Manhattan
// distance): rows of 1, 3, 5, 3 and 1 cells. Values beyond the border are not read.
struct LocalMaximum {
    static constexpr int REACH = 2, NUM_VALUES = 13;
    Cell cell;
    float values[NUM_VALUES];
};

// Finds the peaks of each joint from all local maxima of its map in row-major order, as find_peaks does from the map.
Peaks refine_maxima(const std::vector<std::vector<LocalMaximum>>& maxima, int height, int width,
                    const Settings& settings, Scratch& scratch);

}  // namespace simplepose
