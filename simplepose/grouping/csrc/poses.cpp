// Poses: the complete grouping from maps to people, in input pixels.

#include <algorithm>
#include <stdexcept>
#include <string>

#include "grouping.h"
#include "reference.h"

namespace simplepose {
namespace {

[[noreturn]] void fail(const std::string& message) { throw std::invalid_argument(message); }

void check_limbs(const std::vector<Limb>& limbs, size_t joint_count) {
    const auto joints = static_cast<int>(joint_count);
    for (const Limb& limb : limbs)
        if (std::min(limb.from, limb.to) < 0 || std::max(limb.from, limb.to) >= joints || limb.from == limb.to)
            fail("limbs: expected two different joints from 0 to " + std::to_string(joints - 1) + ", got a limb from " +
                 std::to_string(limb.from) + " to " + std::to_string(limb.to));
}

void check_maps(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                const std::vector<Limb>& limbs) {
    if (limb_maps.size() != limbs.size())
        fail("limb maps: expected one map per limb (" + std::to_string(limbs.size()) + "), got " +
             std::to_string(limb_maps.size()));
    check_limbs(limbs, keypoint_maps.size());
    for (const auto* maps : {&limb_maps, &keypoint_maps})
        for (const Map& map : *maps)
            if (std::min(map.height, map.width) < 1 || map.height != keypoint_maps[0].height ||
                map.width != keypoint_maps[0].width)
                fail("maps: expected equal sizes of at least 1 x 1, got a map of " + std::to_string(map.height) +
                     " x " + std::to_string(map.width));
}

bool has_valid_ends(const Connection& connection, const std::vector<Peak>& from, const std::vector<Peak>& to) {
    return connection.from >= 0 && connection.from < static_cast<int>(from.size()) && connection.to >= 0 &&
           connection.to < static_cast<int>(to.size());
}

void check_connections(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections) {
    check_limbs(limbs, peaks.size());
    if (connections.size() != limbs.size())
        fail("connections: expected a list per limb (" + std::to_string(limbs.size()) + "), got " +
             std::to_string(connections.size()));
    for (size_t k = 0; k < limbs.size(); ++k)
        for (const Connection& connection : connections[k])
            if (!has_valid_ends(connection, peaks[limbs[k].from], peaks[limbs[k].to]))
                fail("limb " + std::to_string(k) + ": expected connections between existing peaks, got one from " +
                     std::to_string(connection.from) + " to " + std::to_string(connection.to));
}

Keypoint to_input_pixels(const Peak& peak, double stride) {
    const double first = stride / 2 - 0.5;  // the center of the first cell
    return {peak.x * stride + first, peak.y * stride + first, std::min(peak.score, 1.0)};
}

}  // namespace

std::vector<Pose> assemble_poses(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections,
                                 const Settings& settings) {
    check_connections(peaks, limbs, connections);
    const auto assemble = settings.rules == Rules::reference ? reference::assemble_people : assemble_people;
    std::vector<Pose> poses;
    for (const Person& person : assemble(peaks, limbs, connections, settings)) {
        poses.push_back({std::vector<Keypoint>(peaks.size()), person.score});
        for (size_t joint = 0; joint < peaks.size(); ++joint)
            if (person.peaks[joint] >= 0)
                poses.back().keypoints[joint] = to_input_pixels(peaks[joint][person.peaks[joint]], settings.stride);
    }
    return poses;
}

std::vector<Pose> group(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                        const std::vector<Limb>& limbs, const Settings& settings, Scratch& scratch) {
    check_maps(limb_maps, keypoint_maps, limbs);
    const bool use_reference = settings.rules == Rules::reference;
    const auto connect = use_reference ? reference::connect_limb : connect_limb;

    Peaks peaks;
    for (const Map& map : keypoint_maps)
        peaks.push_back(use_reference ? reference::find_peaks(map, settings) : find_peaks(map, settings, scratch));
    Connections connections;
    for (size_t k = 0; k < limbs.size(); ++k)
        connections.push_back(connect(limb_maps[k], peaks[limbs[k].from], peaks[limbs[k].to], settings));
    return assemble_poses(peaks, limbs, connections, settings);
}

}  // namespace simplepose
