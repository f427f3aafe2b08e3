// Checks of the arguments of the public functions.

#include "validation.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <string>

namespace simplepose {
namespace {

[[noreturn]] void fail(const std::string& message) { throw std::invalid_argument(message); }

std::string to_text(double number) {
    std::ostringstream text;
    text << number;
    return text.str();
}

template <typename Integer>
std::string describe_size(Integer height, Integer width) {
    return std::to_string(height) + " x " + std::to_string(width);
}

void check_setting(bool is_valid, const char* name, const char* expected, double value) {
    if (!is_valid) fail(std::string(name) + ": expected " + expected + ", got " + to_text(value));
}

bool is_score(double value) { return std::isfinite(value) && value > 0; }

void check_skeleton(const std::vector<Limb>& limbs, size_t joint_count) {
    if (joint_count > MAX_JOINTS || limbs.size() > MAX_LIMBS)
        fail("skeleton: expected at most " + std::to_string(MAX_JOINTS) + " joints and " + std::to_string(MAX_LIMBS) +
             " limbs, got " + std::to_string(joint_count) + " and " + std::to_string(limbs.size()));
    const auto joints = static_cast<int>(joint_count);
    for (const Limb& limb : limbs)
        if (std::min(limb.from, limb.to) < 0 || std::max(limb.from, limb.to) >= joints || limb.from == limb.to)
            fail("limbs: expected two different joints from 0 to " + std::to_string(joints - 1) + ", got a limb from " +
                 std::to_string(limb.from) + " to " + std::to_string(limb.to));
}

bool has_valid_ends(const Connection& connection, const std::vector<Peak>& from, const std::vector<Peak>& to) {
    return connection.from >= 0 && connection.from < static_cast<int>(from.size()) && connection.to >= 0 &&
           connection.to < static_cast<int>(to.size());
}

}  // namespace

void check_settings(const Settings& settings) {
    const auto positive = [](const char* name, double value) {
        check_setting(std::isfinite(value) && value > 0, name, "a finite value > 0", value);
    };
    const auto not_negative = [](const char* name, double value) {
        check_setting(std::isfinite(value) && value >= 0, name, "a finite value >= 0", value);
    };
    positive("stride", settings.stride);
    positive("peak_threshold", static_cast<float>(settings.peak_threshold));  // it is compared with cells
    positive("max_peaks", settings.max_peaks);
    positive("confident_peak", settings.confident_peak);
    check_setting(settings.limb_samples >= 2, "limb_samples", "a value >= 2", settings.limb_samples);
    not_negative("limb_threshold", settings.limb_threshold);
    positive("limb_support", settings.limb_support);
    check_setting(settings.limb_support <= 1, "limb_support", "a value <= 1", settings.limb_support);
    positive("max_connections", settings.max_connections);
    not_negative("max_unassigned_keypoints", settings.max_unassigned_keypoints);
    not_negative("min_unassigned_score", settings.min_unassigned_score);
    not_negative("unassigned_reach", settings.unassigned_reach);
    not_negative("min_person_score", settings.min_person_score);
    positive("min_person_keypoints", settings.min_person_keypoints);
    not_negative("score_area_exponent", settings.score_area_exponent);
}

void check_map_size(std::ptrdiff_t height, std::ptrdiff_t width) {
    if (height < 1 || width < 1 || height > MAX_CELLS / width)
        fail("maps: expected 1 x 1 to " + std::to_string(MAX_CELLS) + " cells, got " + describe_size(height, width));
}

void check_maps(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                const std::vector<Limb>& limbs) {
    if (limb_maps.size() != limbs.size())
        fail("limb maps: expected one map per limb (" + std::to_string(limbs.size()) + "), got " +
             std::to_string(limb_maps.size()));
    check_skeleton(limbs, keypoint_maps.size());
    if (keypoint_maps.empty()) return;
    const Map& first = keypoint_maps[0];
    check_map_size(first.height, first.width);
    for (const auto* maps : {&limb_maps, &keypoint_maps})
        for (const Map& map : *maps)
            if (map.height != first.height || map.width != first.width)
                fail("maps: expected equal sizes, got " + describe_size(first.height, first.width) + " and " +
                     describe_size(map.height, map.width));
}

void check_peaks(const Peaks& peaks, MapSize map_size) {
    if (!peaks.empty()) check_map_size(map_size.height, map_size.width);
    constexpr double MAX_DISTANCE = 0.5 + 1e-6;  // of a peak from the center of a cell, with rounding errors
    const auto is_inside = [&](double position, int size) {
        return position >= -MAX_DISTANCE && position <= size - 1 + MAX_DISTANCE;
    };
    for (const auto& joint_peaks : peaks)
        for (const Peak& peak : joint_peaks)
            if (!is_inside(peak.x, map_size.width) || !is_inside(peak.y, map_size.height) || !is_score(peak.score))
                fail("peaks: expected positions inside the map of " + describe_size(map_size.height, map_size.width) +
                     " and finite scores > 0, got x " + to_text(peak.x) + ", y " + to_text(peak.y) + ", score " +
                     to_text(peak.score));
}

void check_connections(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections) {
    check_skeleton(limbs, peaks.size());
    if (connections.size() != limbs.size())
        fail("connections: expected a list per limb (" + std::to_string(limbs.size()) + "), got " +
             std::to_string(connections.size()));
    for (size_t k = 0; k < limbs.size(); ++k)
        for (const Connection& connection : connections[k]) {
            if (!has_valid_ends(connection, peaks[limbs[k].from], peaks[limbs[k].to]))
                fail("limb " + std::to_string(k) + ": expected connections between existing peaks, got one from " +
                     std::to_string(connection.from) + " to " + std::to_string(connection.to));
            if (!is_score(connection.score))
                fail("limb " + std::to_string(k) + ": expected finite scores > 0 of connections, got " +
                     to_text(connection.score));
        }
}

}  // namespace simplepose
