// Poses: the complete grouping from maps to people, in input pixels.

#include <algorithm>

#include "grouping.h"
#include "reference.h"
#include "validation.h"

namespace simplepose {
namespace {

Keypoint to_input_pixels(const Peak& peak, double stride) {
    const double first = stride / 2 - 0.5;  // the center of the first cell
    return {peak.x * stride + first, peak.y * stride + first, std::min(peak.score, 1.0)};
}

}  // namespace

std::vector<Pose> assemble_poses(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections,
                                 MapSize map_size, const Settings& settings) {
    check_settings(settings);
    check_connections(peaks, limbs, connections);
    check_peaks(peaks, map_size);
    const bool use_reference = settings.rules == Rules::reference;
    const auto assemble = use_reference ? reference::assemble_people : assemble_people;
    std::vector<Person> people = assemble(peaks, limbs, connections, settings);
    weight_by_area(peaks, map_size, settings, people);
    std::vector<Pose> poses;
    for (const Person& person : people) {
        poses.push_back({std::vector<Keypoint>(peaks.size()), person.score});
        for (size_t joint = 0; joint < peaks.size(); ++joint)
            if (person.peaks[joint] >= 0)
                poses.back().keypoints[joint] = to_input_pixels(peaks[joint][person.peaks[joint]], settings.stride);
    }
    return poses;
}

std::vector<Pose> group(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                        const std::vector<Limb>& limbs, const Settings& settings, Scratch& scratch) {
    check_settings(settings);
    check_maps(limb_maps, keypoint_maps, limbs);
    const bool use_reference = settings.rules == Rules::reference;
    const auto connect = use_reference ? reference::connect_limb : connect_limb;

    Peaks peaks;
    for (const Map& map : keypoint_maps)
        peaks.push_back(use_reference ? reference::find_peaks(map, settings) : find_peaks(map, settings, scratch));
    Connections connections;
    for (size_t k = 0; k < limbs.size(); ++k)
        connections.push_back(connect(limb_maps[k], peaks[limbs[k].from], peaks[limbs[k].to], settings));
    MapSize map_size{};
    if (!keypoint_maps.empty()) map_size = {keypoint_maps[0].height, keypoint_maps[0].width};
    return assemble_poses(peaks, limbs, connections, map_size, settings);
}

}  // namespace simplepose
