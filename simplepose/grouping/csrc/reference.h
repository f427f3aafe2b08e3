// The published rules, including their faults, for comparison: the same three steps with the same types.
//
// arXiv:1911.10529 and its released code upsample the maps by 4 with cubic interpolation. Here the pixels of the
// upsampled map are computed only where they are read.
#pragma once

#include "grouping.h"

namespace simplepose::reference {

constexpr int SCALE = 4;  // upsampled pixels per cell: pixel k is at cell (k - 1.5) / 4

// Uses max_peaks and peak_threshold, as the published code does.
std::vector<Peak> find_peaks(const Map& map, const Settings& settings);

// Best first, each peak in at most one connection. Uses limb_samples, limb_threshold and limb_support.
std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from,
                                     const std::vector<Peak>& to, const Settings& settings);

// Scores are 1 - 1 / sum, which is negative for the weakest people. Uses min_person_score and min_person_keypoints.
std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings);

}  // namespace simplepose::reference
