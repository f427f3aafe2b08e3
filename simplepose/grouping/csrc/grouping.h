// From maps to people: find_peaks, connect_limb, then assemble_people (merge_groups, gather_loose, scores).
//
// Positions are in cells, x to the right and y down, the centre of a map's first cell at 0, 0.
// Arithmetic is in double and in one fixed order, so that the answer is the same everywhere.
#pragma once

#include <vector>

namespace simplepose {

// One channel: height x width cells, row after row. What is not finite reads as 0, between cells too.
struct Map {
    const float* cells;
    int height;
    int width;

    double at(int x, int y) const;
    double interpolated(double x, double y) const;  // bilinear; beyond the border, the border's value
};

struct Limb {
    int from, to;  // joints
};

// What the settings of simplepose.config.Grouping mean is said there.
struct Settings {
    double stride;
    double peak_threshold;
    int max_peaks;
    double sure_peak;
    int limb_samples;
    double limb_threshold;
    double limb_support;
    int max_connections;
    int loose_joints;
    double loose_score;
    double loose_reach;
    double person_score;
    int person_joints;
    bool reference;  // the published rules (reference.h) instead of ours
};

struct Peak {
    double x, y;
    double score;  // the map's value there
};

using Peaks = std::vector<std::vector<Peak>>;  // of each joint, best first

// A limb that may lie between two peaks.
struct Connection {
    int from, to;  // indices among the peaks of the limb's two joints
    double score;  // above 0
};

using Connections = std::vector<std::vector<Connection>>;  // of each limb, in no order

using Members = std::vector<int>;  // of each joint: an index among its peaks, or -1

bool share_a_joint(const Members& a, const Members& b);
void take_in(Members& group, Members& other);  // `other` is empty then

struct Person {
    Members peaks;
    double score;            // mean over all joints and limbs; one that is missing counts 0
};

std::vector<Peak> find_peaks(const Map& map, const Settings& settings);

std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from,
                                     const std::vector<Peak>& to, const Settings& settings);

// Groups of peaks, no two of one joint, that limbs hold together; a peak without limbs is one of its own.
std::vector<Members> merge_groups(const Peaks& peaks, const std::vector<Limb>& limbs,
                                  const Connections& connections);

// Gives small groups to larger ones near them that lack their joints.
void gather_loose(const Peaks& peaks, const Settings& settings, std::vector<Members>& groups);

std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings);

}  // namespace simplepose
