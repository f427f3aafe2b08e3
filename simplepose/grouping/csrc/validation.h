// Checks of the arguments of the public functions: they throw std::invalid_argument. The steps trust their arguments.
#pragma once

#include <cstddef>

#include "grouping.h"

namespace simplepose {

constexpr int MAX_JOINTS = 512, MAX_LIMBS = 4096, MAX_CELLS = 1 << 26;  // of a skeleton and of a map

// Checks that each setting is finite and in the range that the steps rely on.
void check_settings(const Settings& settings);

void check_map_size(std::ptrdiff_t height, std::ptrdiff_t width);

// Checks for one map per limb, equal sizes, and limbs between two different joints.
void check_maps(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                const std::vector<Limb>& limbs);

// Checks for positions inside the map and finite scores above 0.
void check_peaks(const Peaks& peaks, MapSize map_size);

// Checks for one list per limb, existing peaks and finite scores above 0.
void check_connections(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections);

}  // namespace simplepose
