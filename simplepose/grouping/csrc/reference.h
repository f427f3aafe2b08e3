// The published rules, faults and all, to compare with: the same three steps, in the same terms.
//
// arXiv:1911.10529 and its released code enlarge the maps four times, cubically, and work on the pixels of that
// picture. Here those pixels are computed where they are looked at; no enlarged map is made.
#pragma once

#include "grouping.h"

namespace simplepose::reference {

constexpr int TIMES = 4;  // enlarged pixels a cell: pixel k lies at cell (k - 1.5) / 4

// Read as in the published code: max_peaks, peak_threshold.
std::vector<Peak> find_peaks(const Map& map, const Settings& settings);

// Best first, each peak in one at most. Read: limb_samples, limb_threshold, limb_support.
std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from,
                                     const std::vector<Peak>& to, const Settings& settings);

// Scores are 1 - 1 / sum, and so below 0 for the weakest. Read: person_score, person_joints.
std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings);

}  // namespace simplepose::reference
