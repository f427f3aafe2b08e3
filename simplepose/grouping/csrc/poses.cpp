// Poses: the whole way from maps to people, in pixels of the picture.

#include <algorithm>
#include <stdexcept>
#include <string>

#include "grouping.h"
#include "reference.h"

namespace simplepose {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

void check_limbs(const std::vector<Limb>& limbs, size_t joint_count) {
    const auto joints = static_cast<int>(joint_count);
    for (const Limb& limb : limbs)
        if (std::min(limb.from, limb.to) < 0 || std::max(limb.from, limb.to) >= joints || limb.from == limb.to)
            refuse("limbs between two of joints 0 to " + std::to_string(joints - 1) + " expected, got one from " +
                   std::to_string(limb.from) + " to " + std::to_string(limb.to));
}

void check_maps(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                const std::vector<Limb>& limbs) {
    if (limb_maps.size() != limbs.size())
        refuse("a map of each limb expected, got " + std::to_string(limb_maps.size()) + " maps of " +
               std::to_string(limbs.size()) + " limbs");
    check_limbs(limbs, keypoint_maps.size());
    for (const auto* maps : {&limb_maps, &keypoint_maps})
        for (const Map& map : *maps)
            if (std::min(map.height, map.width) < 1 || map.height != keypoint_maps[0].height ||
                map.width != keypoint_maps[0].width)
                refuse("maps of one size, at least 1 x 1, expected, got one of " + std::to_string(map.height) + " x " +
                       std::to_string(map.width));
}

bool joins(const Connection& connection, const std::vector<Peak>& from, const std::vector<Peak>& to) {
    return connection.from >= 0 && connection.from < static_cast<int>(from.size()) && connection.to >= 0 &&
           connection.to < static_cast<int>(to.size());
}

void check_connections(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections) {
    check_limbs(limbs, peaks.size());
    if (connections.size() != limbs.size())
        refuse("connections of each limb expected, got those of " + std::to_string(connections.size()) + " of " +
               std::to_string(limbs.size()) + " limbs");
    for (size_t k = 0; k < limbs.size(); ++k)
        for (const Connection& connection : connections[k])
            if (!joins(connection, peaks[limbs[k].from], peaks[limbs[k].to]))
                refuse("connections between peaks of limb " + std::to_string(k) + " expected, got one from " +
                       std::to_string(connection.from) + " to " + std::to_string(connection.to));
}

Keypoint in_picture(const Peak& peak, double stride) {
    const double first = stride / 2 - 0.5;  // where the centre of the first cell lies
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
                poses.back().keypoints[joint] = in_picture(peaks[joint][person.peaks[joint]], settings.stride);
    }
    return poses;
}

std::vector<Pose> group(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                        const std::vector<Limb>& limbs, const Settings& settings, Scratch& scratch) {
    check_maps(limb_maps, keypoint_maps, limbs);
    const bool published = settings.rules == Rules::reference;
    const auto connect = published ? reference::connect_limb : connect_limb;

    Peaks peaks;
    for (const Map& map : keypoint_maps)
        peaks.push_back(published ? reference::find_peaks(map, settings) : find_peaks(map, settings, scratch));
    Connections connections;
    for (size_t k = 0; k < limbs.size(); ++k)
        connections.push_back(connect(limb_maps[k], peaks[limbs[k].from], peaks[limbs[k].to], settings));
    return assemble_poses(peaks, limbs, connections, settings);
}

}  // namespace simplepose
