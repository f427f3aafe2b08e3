// Grouping of maps into people: group(), or its steps find_peaks, connect_limb and assemble_poses
// (assemble_people: merge_groups, attach_unassigned, scores; weight_by_area).
//
// Positions in the steps are in cells, x to the right and y down; the center of a map's first cell is 0, 0.
// Arithmetic is in double and in a fixed order, so that results are the same on all machines.
#pragma once

#include <vector>

namespace simplepose {

// One channel: height x width cells in row-major order. Values that are not finite are read as 0.
struct Map {
    const float* cells;
    int height;
    int width;

    double at(int x, int y) const;
    double interpolated(double x, double y) const;  // bilinear, clamped at the border
};

struct Limb {
    int from, to;  // joints
};

enum class Rules { simplepose, reference };  // reference: the published rules (reference.h)

// See simplepose.config.GroupingSettings for the meaning of each field. The defaults are the same.
struct Settings {
    double stride = 4;
    double peak_threshold = 0.1;
    int max_peaks = 256;
    double confident_peak = 0.5;
    int limb_samples = 20;
    double limb_threshold = 0.1;
    double limb_support = 0.8;
    int max_connections = 1024;
    int max_unassigned_keypoints = 3;
    double min_unassigned_score = 0.25;
    double unassigned_reach = 0.5;
    double min_person_score = 0.45;
    int min_person_keypoints = 2;
    double score_area_exponent = 0;
    Rules rules = Rules::simplepose;
};

struct Keypoint {
    double x, y;   // input pixels: the center of cell k is at k * stride + stride / 2 - 0.5
    double score;  // in (0, 1]; score, x and y are 0 if the joint was not found
};

struct Pose {
    std::vector<Keypoint> keypoints;  // one per joint
    double score;  // with the default rules: the mean over all joints and limbs, weighted by area
};

struct Cell {
    int x, y;
};

// The only memory that grows with the size of the maps, used for plateaus. To group many images, reuse one object
// per thread and avoid new allocations. Its content has no meaning between calls.
struct Scratch {
    std::vector<char> visited;
    std::vector<Cell> plateau;
    std::vector<float> cells;  // used by refine_maxima
};

// Finds the people of one image, best first, from one map per limb and one map per network joint of the skeleton.
// Throws std::invalid_argument if limbs, maps or settings are invalid or do not match (validation.h).
std::vector<Pose> group(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                        const std::vector<Limb>& limbs, const Settings& settings, Scratch& scratch);

inline std::vector<Pose> group(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                               const std::vector<Limb>& limbs, const Settings& settings = {}) {
    Scratch scratch;
    return group(limb_maps, keypoint_maps, limbs, settings, scratch);
}

struct Peak {
    double x, y;
    double score;  // the map's value at the peak
};

using Peaks = std::vector<std::vector<Peak>>;  // for each joint, best first

// A candidate limb between two peaks.
struct Connection {
    int from, to;  // indices among the peaks of the limb's two joints
    double score;  // above 0
};

using Connections = std::vector<std::vector<Connection>>;  // for each limb, in any order

using Members = std::vector<int>;  // for each joint: an index of its peaks, or -1

struct Box {
    double left, top, right, bottom;
};

Box bounding_box(const Peaks& peaks, const Members& members);
bool have_common_joint(const Members& a, const Members& b);
void absorb(Members& group, Members& other);  // moves the members of `other` to `group`

struct Person {
    Members peaks;
    double score;  // mean over all joints and limbs, 0 for missing ones
};

std::vector<Peak> find_peaks(const Map& map, const Settings& settings, Scratch& scratch);

// Refines given local maxima: all cells that reach the threshold and have no higher neighbor, in row-major order.
std::vector<Peak> refine_cells(const Map& map, const std::vector<Cell>& maxima, const Settings& settings,
                               Scratch& scratch);

std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from,
                                     const std::vector<Peak>& to, const Settings& settings);

// Merges peaks that limbs connect into groups with at most one peak per joint; a peak without limbs is a group.
std::vector<Members> merge_groups(const Peaks& peaks, const std::vector<Limb>& limbs,
                                  const Connections& connections);

// Attaches small groups of unassigned keypoints to nearby larger groups that lack these joints.
void attach_unassigned(const Peaks& peaks, const Settings& settings, std::vector<Members>& groups);

std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings);

struct MapSize {
    int height, width;
};

// Multiplies scores by (area of the person's box / area of the map) to the power `score_area_exponent`, and sorts.
void weight_by_area(const Peaks& peaks, MapSize map_size, const Settings& settings, std::vector<Person>& people);

// The last step of group(), after peaks and connections. Throws std::invalid_argument if they are invalid or do not
// match.
std::vector<Pose> assemble_poses(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections,
                                 MapSize map_size, const Settings& settings);

}  // namespace simplepose
