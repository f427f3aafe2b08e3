// Python bindings: convert the arguments, release the GIL, copy the results.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>

#include "grouping.h"
#include "tops.h"

namespace py = pybind11;
using namespace simplepose;

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Ints = py::array_t<int, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style>;

Settings read_settings(const py::handle& settings) {
    const auto number = [&](const char* name) { return settings.attr(name).cast<double>(); };
    const auto count = [&](const char* name) { return settings.attr(name).cast<int>(); };
    const bool use_reference = settings.attr("rules").cast<std::string>() == "reference";
    return {number("stride"),
            number("peak_threshold"),
            count("max_peaks"),
            number("confident_peak"),
            count("limb_samples"),
            number("limb_threshold"),
            number("limb_support"),
            count("max_connections"),
            count("max_unassigned_keypoints"),
            number("min_unassigned_score"),
            number("unassigned_reach"),
            number("min_person_score"),
            count("min_person_keypoints"),
            use_reference ? Rules::reference : Rules::simplepose};
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

// Returns (P, J, 3) x, y in input pixels and score, and (P,) scores.
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
        const py::gil_scoped_release release_gil;
        poses = group(limb_channels, keypoint_channels, limbs, settings);
    }
    return write_poses(poses, keypoint_maps.shape(0));
}

// Returns (N, 3) x, y in cells and score, joint after joint, and (J,) number of peaks of each joint.
py::tuple write_peaks(const Peaks& peaks) {
    Ints counts(static_cast<py::ssize_t>(peaks.size()));
    std::vector<Peak> all;
    for (size_t joint = 0; joint < peaks.size(); ++joint) {
        counts.mutable_at(joint) = static_cast<int>(peaks[joint].size());
        all.insert(all.end(), peaks[joint].begin(), peaks[joint].end());
    }
    Doubles rows({static_cast<py::ssize_t>(all.size()), py::ssize_t{3}});
    for (size_t i = 0; i < all.size(); ++i) {
        rows.mutable_at(i, 0) = all[i].x;
        rows.mutable_at(i, 1) = all[i].y;
        rows.mutable_at(i, 2) = all[i].score;
    }
    return py::make_tuple(rows, counts);
}

Peaks read_peaks(const Doubles& rows, const Ints& counts) {
    Peaks peaks(counts.size());
    py::ssize_t row = 0;
    for (size_t joint = 0; joint < peaks.size(); ++joint)
        for (int i = 0; i < counts.at(joint); ++i, ++row)
            peaks[joint].push_back({rows.at(row, 0), rows.at(row, 1), rows.at(row, 2)});
    return peaks;
}

Connections read_connections(const Ints& ends, const Doubles& scores, size_t limbs) {
    Connections connections(limbs);
    for (py::ssize_t i = 0; i < scores.size(); ++i)
        connections.at(ends.at(i, 0)).push_back({ends.at(i, 1), ends.at(i, 2), scores.at(i)});
    return connections;
}

py::tuple peaks_of_maps(const Floats& keypoint_maps, const py::object& settings_object) {
    const Settings settings = read_settings(settings_object);
    const std::vector<Map> channels = read_maps(keypoint_maps);
    Peaks peaks;
    {
        const py::gil_scoped_release release_gil;
        Scratch scratch;
        for (const Map& map : channels) peaks.push_back(find_peaks(map, settings, scratch));
    }
    return write_peaks(peaks);
}

// cells: (N, 3) joint, y, x; near: (N, 13) the values around each cell, in the order of `Top::near`.
py::tuple peaks_of_tops(const Ints& cells, const Floats& near, int joints, int height, int width,
                        const py::object& settings_object) {
    const Settings settings = read_settings(settings_object);
    std::vector<std::vector<Top>> tops(joints);
    for (py::ssize_t i = 0; i < cells.shape(0); ++i) {
        Top top{{cells.at(i, 2), cells.at(i, 1)}, {}};
        std::copy_n(near.data(i, 0), Top::CELLS, top.near);
        tops.at(cells.at(i, 0)).push_back(top);
    }
    Peaks peaks;
    {
        const py::gil_scoped_release release_gil;
        Scratch scratch;
        peaks = find_peaks(tops, height, width, settings, scratch);
    }
    return write_peaks(peaks);
}

// peaks, counts: as write_peaks returns them; ends: (M, 3) limb, index of its first and of its second joint's peak;
// scores: (M,).
py::tuple assemble_arrays(const Doubles& peak_rows, const Ints& counts, const Ints& ends, const Doubles& scores,
                          const Ints& limb_ends, const py::object& settings_object) {
    const Settings settings = read_settings(settings_object);
    const std::vector<Limb> limbs = read_limbs(limb_ends);
    const Peaks peaks = read_peaks(peak_rows, counts);
    const Connections connections = read_connections(ends, scores, limbs.size());
    std::vector<Pose> poses;
    {
        const py::gil_scoped_release release_gil;
        poses = assemble_poses(peaks, limbs, connections, settings);
    }
    return write_poses(poses, counts.size());
}

}  // namespace

PYBIND11_MODULE(_grouping, module) {
    module.doc() = "The grouping kernels; call them through simplepose.grouping.group.";
    module.def("group", &group_arrays, py::arg("limb_maps").noconvert(), py::arg("keypoint_maps").noconvert(),
               py::arg("limb_ends").noconvert(), py::arg("settings"));
    module.def("peaks_of_maps", &peaks_of_maps, py::arg("keypoint_maps").noconvert(), py::arg("settings"));
    module.def("peaks_of_tops", &peaks_of_tops, py::arg("cells").noconvert(), py::arg("near").noconvert(),
               py::arg("joints"), py::arg("height"), py::arg("width"), py::arg("settings"));
    module.def("assemble", &assemble_arrays, py::arg("peaks").noconvert(), py::arg("counts").noconvert(),
               py::arg("ends").noconvert(), py::arg("scores").noconvert(), py::arg("limb_ends").noconvert(),
               py::arg("settings"));
}
