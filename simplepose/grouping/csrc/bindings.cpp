// Python bindings: check and convert the arguments, release the GIL, copy the results.
//
// Arguments are taken as objects, so that each invalid one is a ValueError with its name. Ranges that C++ callers must
// keep as well are checked in validation.cpp; pybind11 turns std::invalid_argument into ValueError.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "grouping.h"
#include "local_maxima.h"
#include "validation.h"

namespace py = pybind11;
using namespace simplepose;

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Ints = py::array_t<int, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style>;

constexpr py::ssize_t ANY = -1;  // a size that is not checked

[[noreturn]] void fail(const std::string& name, const std::string& expected, const std::string& got) {
    throw std::invalid_argument(name + ": expected " + expected + ", got " + got);
}

std::string type_name(const py::handle& object) { return Py_TYPE(object.ptr())->tp_name; }

std::string to_text(const std::vector<py::ssize_t>& numbers) {
    std::string text;
    for (const py::ssize_t number : numbers)
        text += (text.empty() ? "" : ", ") + (number == ANY ? "any" : std::to_string(number));
    return "(" + text + ")";
}

// Checks type, shape, memory layout and alignment of an array.
template <typename Array>
Array read_array(const py::object& argument, const char* name, const std::vector<py::ssize_t>& shape) {
    using Value = typename Array::value_type;
    const py::dtype dtype = py::dtype::of<Value>();
    const auto fail_type = [&](const std::string& got) {
        fail(name, "a NumPy array of " + std::string(py::str(dtype)), got);
    };
    if (!py::isinstance<py::array>(argument)) fail_type(type_name(argument));
    const auto array = py::reinterpret_borrow<py::array>(argument);
    if (!array.dtype().equal(dtype)) fail_type(std::string(py::str(array.dtype())));

    const py::ssize_t *sizes = array.shape(), *end = sizes + array.ndim();
    const auto matches = [](py::ssize_t wanted, py::ssize_t size) { return wanted == ANY || wanted == size; };
    if (!std::equal(shape.begin(), shape.end(), sizes, end, matches))
        fail(name, "shape " + to_text(shape), to_text({sizes, end}));
    if (!(array.flags() & py::array::c_style)) fail(name, "C-contiguous memory", "other strides");
    if (reinterpret_cast<std::uintptr_t>(array.data()) % alignof(Value) != 0)
        fail(name, "an address that is a multiple of " + std::to_string(alignof(Value)) + " bytes", "another one");
    return py::reinterpret_borrow<Array>(argument);
}

int read_int(const py::handle& argument, const char* name, int minimum = std::numeric_limits<int>::min(),
             int maximum = std::numeric_limits<int>::max()) {
    const auto fail_range = [&](const std::string& got) {
        fail(name, "an integer from " + std::to_string(minimum) + " to " + std::to_string(maximum), got);
    };
    if (!PyIndex_Check(argument.ptr())) fail_range(type_name(argument));
    const auto integer = py::reinterpret_steal<py::object>(PyNumber_Index(argument.ptr()));
    if (!integer) throw py::error_already_set();
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(integer.ptr(), &overflow);
    if (overflow) fail_range("one of more than 64 bits");
    if (number < minimum || number > maximum) fail_range(std::to_string(number));
    return static_cast<int>(number);
}

double read_double(const py::handle& argument, const char* name) {
    const double number = PyFloat_AsDouble(argument.ptr());
    if (number == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        fail(name, "a number in the range of float64", "an object of type " + type_name(argument));
    }
    return number;
}

Rules read_rules(const py::handle& argument) {
    if (py::isinstance<py::str>(argument)) {
        if (argument.equal(py::str("simplepose"))) return Rules::simplepose;
        if (argument.equal(py::str("reference"))) return Rules::reference;
    }
    fail("rules", "'simplepose' or 'reference'", std::string(py::repr(argument)));
}

Settings read_settings(const py::object& argument) {
    const auto field = [&](const char* name) {
        if (!py::hasattr(argument, name)) fail("settings", "GroupingSettings", type_name(argument));
        return py::object(argument.attr(name));
    };
    const auto number = [&](const char* name) { return read_double(field(name), name); };
    const auto count = [&](const char* name) { return read_int(field(name), name); };
    const Settings settings{number("stride"),
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
                            number("score_area_exponent"),
                            read_rules(field("rules"))};
    check_settings(settings);
    return settings;
}

std::vector<Limb> read_limbs(const py::object& argument) {
    const auto limb_ends = read_array<Ints>(argument, "limb_ends", {ANY, 2});
    std::vector<Limb> limbs;
    for (py::ssize_t k = 0; k < limb_ends.shape(0); ++k) limbs.push_back({limb_ends.at(k, 0), limb_ends.at(k, 1)});
    return limbs;
}

// Maps of an array that must outlive them.
std::vector<Map> read_maps(const Floats& maps) {
    if (maps.shape(0) > 0) check_map_size(maps.shape(1), maps.shape(2));
    const int height = static_cast<int>(maps.shape(1)), width = static_cast<int>(maps.shape(2));
    std::vector<Map> channels;
    for (py::ssize_t c = 0; c < maps.shape(0); ++c) channels.push_back({maps.data(c, 0, 0), height, width});
    return channels;
}

MapSize read_map_size(const py::object& height, const py::object& width) {
    const MapSize size{read_int(height, "height"), read_int(width, "width")};
    check_map_size(size.height, size.width);
    return size;
}

// Returns (P, J, 3) x, y in input pixels and score, and (P,) scores.
py::tuple write_poses(const std::vector<Pose>& poses, size_t joints) {
    const auto count = static_cast<py::ssize_t>(poses.size());
    Floats keypoints({count, static_cast<py::ssize_t>(joints), py::ssize_t{3}}), scores(count);
    for (py::ssize_t p = 0; p < count; ++p) {
        scores.mutable_at(p) = static_cast<float>(poses[p].score);
        for (size_t j = 0; j < joints; ++j) {
            const Keypoint& keypoint = poses[p].keypoints[j];
            keypoints.mutable_at(p, j, 0) = static_cast<float>(keypoint.x);
            keypoints.mutable_at(p, j, 1) = static_cast<float>(keypoint.y);
            keypoints.mutable_at(p, j, 2) = static_cast<float>(keypoint.score);
        }
    }
    return py::make_tuple(keypoints, scores);
}

// limb_maps, keypoint_maps: (L, h, w) and (J, h, w); limb_ends: (L, 2) the two joints of each limb.
py::tuple group_arrays(const py::object& limb_maps, const py::object& keypoint_maps, const py::object& limb_ends,
                       const py::object& settings_object) {
    const auto limb_array = read_array<Floats>(limb_maps, "limb_maps", {ANY, ANY, ANY});
    const auto keypoint_array = read_array<Floats>(keypoint_maps, "keypoint_maps", {ANY, ANY, ANY});
    const std::vector<Limb> limbs = read_limbs(limb_ends);
    const Settings settings = read_settings(settings_object);
    const std::vector<Map> limb_channels = read_maps(limb_array), keypoint_channels = read_maps(keypoint_array);
    std::vector<Pose> poses;
    {
        const py::gil_scoped_release release_gil;
        poses = group(limb_channels, keypoint_channels, limbs, settings);
    }
    return write_poses(poses, keypoint_channels.size());
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

Peaks read_peaks(const py::object& rows_object, const py::object& counts_object) {
    const auto rows = read_array<Doubles>(rows_object, "peaks", {ANY, 3});
    const auto counts = read_array<Ints>(counts_object, "counts", {ANY});
    Peaks peaks(counts.size());
    py::ssize_t end = 0;
    for (size_t joint = 0; joint < peaks.size(); ++joint) {
        const py::ssize_t begin = end, count = counts.at(joint);
        if (count < 0 || count > rows.shape(0) - begin)
            fail("counts", "values >= 0 whose sum is the number of peaks (" + std::to_string(rows.shape(0)) + ")",
                 std::to_string(count) + " for joint " + std::to_string(joint));
        end += count;
        for (py::ssize_t row = begin; row < end; ++row)
            peaks[joint].push_back({rows.at(row, 0), rows.at(row, 1), rows.at(row, 2)});
    }
    if (end != rows.shape(0))
        fail("counts", "a sum equal to the number of peaks (" + std::to_string(rows.shape(0)) + ")",
             std::to_string(end));
    return peaks;
}

Connections read_connections(const py::object& ends_object, const py::object& scores_object, size_t limbs) {
    const auto ends = read_array<Ints>(ends_object, "ends", {ANY, 3});
    const auto scores = read_array<Doubles>(scores_object, "scores", {ends.shape(0)});
    Connections connections(limbs);
    for (py::ssize_t i = 0; i < scores.size(); ++i) {
        const int limb = ends.at(i, 0);
        if (limb < 0 || static_cast<size_t>(limb) >= limbs)
            fail("ends", "limbs >= 0 and below the number of limbs (" + std::to_string(limbs) + ")",
                 std::to_string(limb));
        connections[limb].push_back({ends.at(i, 1), ends.at(i, 2), scores.at(i)});
    }
    return connections;
}

// keypoint_maps: (J, h, w).
py::tuple find_map_peaks(const py::object& keypoint_maps, const py::object& settings_object) {
    const auto array = read_array<Floats>(keypoint_maps, "keypoint_maps", {ANY, ANY, ANY});
    const Settings settings = read_settings(settings_object);
    const std::vector<Map> channels = read_maps(array);
    Peaks peaks;
    {
        const py::gil_scoped_release release_gil;
        Scratch scratch;
        for (const Map& map : channels) peaks.push_back(find_peaks(map, settings, scratch));
    }
    return write_peaks(peaks);
}

// cells: (N, 3) joint, y, x; values: (N, 13), those around each cell, in the order of `LocalMaximum::values`.
std::vector<std::vector<LocalMaximum>> read_maxima(const py::object& cells_object, const py::object& values_object,
                                                   int joints, MapSize size, float threshold) {
    const auto cells = read_array<Ints>(cells_object, "cells", {ANY, 3});
    const auto values = read_array<Floats>(values_object, "values", {cells.shape(0), LocalMaximum::NUM_VALUES});
    std::vector<std::vector<LocalMaximum>> maxima(joints);
    for (py::ssize_t i = 0; i < cells.shape(0); ++i) {
        const int joint = cells.at(i, 0), y = cells.at(i, 1), x = cells.at(i, 2);
        if (joint < 0 || joint >= joints || y < 0 || y >= size.height || x < 0 || x >= size.width)
            fail("cells", "joint, y, x from 0 and below " + to_text({joints, size.height, size.width}),
                 "(" + std::to_string(joint) + ", " + std::to_string(y) + ", " + std::to_string(x) + ")");
        LocalMaximum maximum{{x, y}, {}};
        std::copy_n(values.data(i, 0), LocalMaximum::NUM_VALUES, maximum.values);
        const float center = maximum.values[LocalMaximum::NUM_VALUES / 2];
        if (!(center >= threshold) || center == std::numeric_limits<float>::infinity())
            fail("values", "finite values of at least peak_threshold in the middle column", std::to_string(center));
        maxima[joint].push_back(maximum);
    }
    return maxima;
}

// cells, values: as read_maxima reads them; joints, height, width: the shape of the maps.
py::tuple refine_map_maxima(const py::object& cells, const py::object& values, const py::object& joints_object,
                            const py::object& height, const py::object& width, const py::object& settings_object) {
    const Settings settings = read_settings(settings_object);
    const int joints = read_int(joints_object, "joints", 0, MAX_JOINTS);
    const MapSize size = read_map_size(height, width);
    const auto maxima = read_maxima(cells, values, joints, size, static_cast<float>(settings.peak_threshold));
    Peaks peaks;
    {
        const py::gil_scoped_release release_gil;
        Scratch scratch;
        peaks = refine_maxima(maxima, size.height, size.width, settings, scratch);
    }
    return write_peaks(peaks);
}

// peaks, counts: as write_peaks returns them; ends: (M, 3) limb, index of its first and of its second joint's peak;
// scores: (M,); limb_ends: (L, 2); height, width: the size of the maps.
py::tuple assemble_arrays(const py::object& peaks_object, const py::object& counts, const py::object& ends,
                          const py::object& scores, const py::object& limb_ends, const py::object& height,
                          const py::object& width, const py::object& settings_object) {
    const Settings settings = read_settings(settings_object);
    const std::vector<Limb> limbs = read_limbs(limb_ends);
    const MapSize size = read_map_size(height, width);
    const Peaks peaks = read_peaks(peaks_object, counts);
    const Connections connections = read_connections(ends, scores, limbs.size());
    std::vector<Pose> poses;
    {
        const py::gil_scoped_release release_gil;
        poses = assemble_poses(peaks, limbs, connections, size, settings);
    }
    return write_poses(poses, peaks.size());
}

}  // namespace

PYBIND11_MODULE(_grouping, module) {
    module.doc() = "The grouping kernels; call them through simplepose.grouping.group.";
    module.def("group", &group_arrays, py::arg("limb_maps"), py::arg("keypoint_maps"), py::arg("limb_ends"),
               py::arg("settings"));
    module.def("find_peaks", &find_map_peaks, py::arg("keypoint_maps"), py::arg("settings"));
    module.def("refine_maxima", &refine_map_maxima, py::arg("cells"), py::arg("values"), py::arg("joints"),
               py::arg("height"), py::arg("width"), py::arg("settings"));
    module.def("assemble_poses", &assemble_arrays, py::arg("peaks"), py::arg("counts"), py::arg("ends"),
               py::arg("scores"), py::arg("limb_ends"), py::arg("height"), py::arg("width"), py::arg("settings"));
}
