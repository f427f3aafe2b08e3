// The Python door: reads what it is handed, lets other threads run, copies out.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "grouping.h"

namespace py = pybind11;
using namespace simplepose;

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Ints = py::array_t<int, py::array::c_style>;

Settings read_settings(const py::handle& settings) {
    const auto number = [&](const char* name) { return settings.attr(name).cast<double>(); };
    const auto count = [&](const char* name) { return settings.attr(name).cast<int>(); };
    const bool published = settings.attr("rules").cast<std::string>() == "reference";
    return {number("stride"),       number("peak_threshold"), count("max_peaks"),
            number("sure_peak"),    count("limb_samples"),    number("limb_threshold"),
            number("limb_support"), count("max_connections"), count("loose_joints"),
            number("loose_score"),  number("loose_reach"),    number("person_score"),
            count("person_joints"), published ? Rules::reference : Rules::ours};
}

std::vector<Limb> read_limbs(const Ints& limb_ends) {
    std::vector<Limb> limbs;
    for (py::ssize_t k = 0; k < limb_ends.shape(0); ++k) limbs.push_back({limb_ends.at(k, 0), limb_ends.at(k, 1)});
    return limbs;
}

std::vector<Map> read_maps(const Floats& maps) {
    const int height = static_cast<int>(maps.shape(1)), width = static_cast<int>(maps.shape(2));
    std::vector<Map> channels;
    for (py::ssize_t c = 0; c < maps.shape(0); ++c) channels.push_back({maps.data(c, 0, 0), height, width});
    return channels;
}

// (P, J, 3) x, y in pixels and score, and (P,) scores.
py::tuple write_poses(const std::vector<Pose>& poses, py::ssize_t joints) {
    const auto count = static_cast<py::ssize_t>(poses.size());
    Floats keypoints({count, joints, py::ssize_t{3}}), scores(count);
    for (py::ssize_t p = 0; p < count; ++p) {
        scores.mutable_at(p) = static_cast<float>(poses[p].score);
        for (py::ssize_t j = 0; j < joints; ++j) {
            const Keypoint& keypoint = poses[p].keypoints[j];
            keypoints.mutable_at(p, j, 0) = static_cast<float>(keypoint.x);
            keypoints.mutable_at(p, j, 1) = static_cast<float>(keypoint.y);
            keypoints.mutable_at(p, j, 2) = static_cast<float>(keypoint.score);
        }
    }
    return py::make_tuple(keypoints, scores);
}

py::tuple group_arrays(const Floats& limb_maps, const Floats& keypoint_maps, const Ints& limb_ends,
                       const py::object& settings_object) {
    const Settings settings = read_settings(settings_object);
    const std::vector<Limb> limbs = read_limbs(limb_ends);
    const std::vector<Map> limb_channels = read_maps(limb_maps), keypoint_channels = read_maps(keypoint_maps);
    std::vector<Pose> poses;
    {
        const py::gil_scoped_release others_may_run;
        poses = group(limb_channels, keypoint_channels, limbs, settings);
    }
    return write_poses(poses, keypoint_maps.shape(0));
}

}  // namespace

PYBIND11_MODULE(_grouping, module) {
    module.doc() = "The grouping kernels; call them through simplepose.grouping.group.";
    module.def("group", &group_arrays, py::arg("limb_maps").noconvert(), py::arg("keypoint_maps").noconvert(),
               py::arg("limb_ends").noconvert(), py::arg("settings"));
}
