// From maps to people: group, or its steps find_peaks, connect_limb and assemble_poses (assemble_people:
// merge_groups, gather_loose, scores).
//
// The steps' positions are in cells, x to the right and y down, the centre of a map's first cell at 0, 0.
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

enum class Rules { ours, reference };  // reference: the published ones (reference.h)

// simplepose.config.Grouping says what each means and may be (nothing is checked here); the defaults are the same.
struct Settings {
    double stride = 4;
    double peak_threshold = 0.1;
    int max_peaks = 256;
    double sure_peak = 0.5;
    int limb_samples = 20;
    double limb_threshold = 0.1;
    double limb_support = 0.8;
    int max_connections = 1024;
    int loose_joints = 3;
    double loose_score = 0.25;
    double loose_reach = 0.5;
    double person_score = 0.45;
    int person_joints = 2;
    Rules rules = Rules::ours;
};

struct Keypoint {
    double x, y;   // pixels of the picture: cell k's centre is at k * stride + stride / 2 - 0.5
    double score;  // above 0, at most 1; 0, and so are x and y, where the joint was not found
};

struct Pose {
    std::vector<Keypoint> keypoints;  // of each joint
    double score;
};

struct Cell {
    int x, y;
};

// All room that grows with the maps, used where neighbouring cells are equally high. Who groups many pictures
// keeps one (a thread), so that it is not allocated anew each time; what is in it between two calls means nothing.
struct Scratch {
    std::vector<char> seen;
    std::vector<Cell> plateau;
    std::vector<float> cells;  // used by tops.h
};

// The people of one picture, best first, from a map of each limb and of each joint (of the skeleton's network
// joints, in their order). Throws std::invalid_argument where limbs and maps do not fit together, and
// where a limb is none: it joins two different joints.
std::vector<Pose> group(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                        const std::vector<Limb>& limbs, const Settings& settings, Scratch& scratch);

inline std::vector<Pose> group(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                               const std::vector<Limb>& limbs, const Settings& settings = {}) {
    Scratch scratch;
    return group(limb_maps, keypoint_maps, limbs, settings, scratch);
}

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
    double score;  // mean over all joints and limbs; one that is missing counts 0
};

std::vector<Peak> find_peaks(const Map& map, const Settings& settings, Scratch& scratch);

// The same, where the cells that reach the threshold and that nothing beside them exceeds are known already,
// row after row.
std::vector<Peak> place_peaks(const Map& map, const std::vector<Cell>& tops, const Settings& settings,
                              Scratch& scratch);

std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from,
                                     const std::vector<Peak>& to, const Settings& settings);

// Groups of peaks, no two of one joint, that limbs hold together; a peak without limbs is one of its own.
std::vector<Members> merge_groups(const Peaks& peaks, const std::vector<Limb>& limbs,
                                  const Connections& connections);

// Gives small groups to larger ones near them that lack their joints.
void gather_loose(const Peaks& peaks, const Settings& settings, std::vector<Members>& groups);

std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings);

// What group does once peaks and connections are found. Throws std::invalid_argument where they do not fit together.
std::vector<Pose> assemble_poses(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections,
                                 const Settings& settings);

}  // namespace simplepose
