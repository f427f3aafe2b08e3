// Tests of the grouping kernels on random and special values, built with sanitizers: every result is validated.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>

#include "grouping.h"
#include "reference.h"
#include "local_maxima.h"

using namespace simplepose;

namespace {

#define EXPECT(condition)                                                     \
    do {                                                                      \
        if (!(condition)) {                                                   \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);      \
            std::exit(1);                                                     \
        }                                                                     \
    } while (false)

Settings lenient() {
    Settings settings{};
    settings.stride = 4;
    settings.peak_threshold = 0.1;
    settings.max_peaks = 40;
    settings.confident_peak = 0.5;
    settings.limb_samples = 20;
    settings.limb_threshold = 0.1;
    settings.limb_support = 0.8;
    settings.max_connections = 100;
    settings.max_unassigned_keypoints = 3;
    settings.min_unassigned_score = 0;
    settings.unassigned_reach = 0.5;
    settings.min_person_score = 0;
    settings.min_person_keypoints = 1;
    return settings;
}

// A linear congruential generator: the same numbers on all platforms.
struct Random {
    std::uint32_t state;
    std::uint32_t next() { return state = state * 1664525U + 1013904223U; }
    float uniform() { return static_cast<float>(next() >> 8) / 16777216.0F; }
};

float special_value(Random& random) {
    switch (random.next() >> 28) {
        case 0: return std::numeric_limits<float>::quiet_NaN();
        case 1: return std::numeric_limits<float>::infinity();
        case 2: return -std::numeric_limits<float>::infinity();
        case 3: return std::numeric_limits<float>::max();
        case 4: return std::numeric_limits<float>::denorm_min();
        case 5: return -1;
        case 6: return 0.5F;
        default: return random.uniform();
    }
}

void check_peaks(const std::vector<Peak>& peaks, int height, int width, const Settings& settings) {
    EXPECT(peaks.size() <= static_cast<size_t>(settings.max_peaks));
    for (size_t i = 0; i < peaks.size(); ++i) {
        EXPECT(peaks[i].x >= -0.5 && peaks[i].x <= width - 0.5);
        EXPECT(peaks[i].y >= -0.5 && peaks[i].y <= height - 0.5);
        EXPECT(std::isfinite(peaks[i].score) && peaks[i].score >= static_cast<float>(settings.peak_threshold));
        EXPECT(i == 0 || peaks[i - 1].score >= peaks[i].score);
    }
}

std::vector<LocalMaximum> find_maxima(const Map& map, float threshold) {
    std::vector<LocalMaximum> maxima;
    for (int y = 0; y < map.height; ++y) {
        for (int x = 0; x < map.width; ++x) {
            const auto near = [&](int dx, int dy) {
                const bool on_map = x + dx >= 0 && y + dy >= 0 && x + dx < map.width && y + dy < map.height;
                return on_map ? static_cast<float>(map.at(x + dx, y + dy)) : -1.0F;
            };
            bool highest = near(0, 0) >= threshold;
            for (int i = 0; i < 9; ++i) highest = highest && near(i % 3 - 1, i / 3 - 1) <= near(0, 0);
            if (!highest) continue;
            maxima.push_back({{x, y}, {}});
            float* next = maxima.back().values;
            for (int dy = -2; dy <= 2; ++dy)
                for (int dx = -2; dx <= 2; ++dx)
                    if (std::abs(dx) + std::abs(dy) <= 2) *next++ = near(dx, dy);
        }
    }
    return maxima;
}

// The local maxima of maps give the same peaks as the maps.
void check_maxima(const std::vector<Map>& maps, const Peaks& peaks, const Settings& settings, Scratch& scratch) {
    std::vector<std::vector<LocalMaximum>> maxima;
    for (const Map& map : maps) maxima.push_back(find_maxima(map, static_cast<float>(settings.peak_threshold)));
    const Peaks found = refine_maxima(maxima, maps[0].height, maps[0].width, settings, scratch);
    EXPECT(found.size() == peaks.size());
    for (size_t j = 0; j < peaks.size(); ++j) {
        EXPECT(found[j].size() == peaks[j].size());
        for (size_t i = 0; i < peaks[j].size(); ++i)
            EXPECT(found[j][i].x == peaks[j][i].x && found[j][i].y == peaks[j][i].y &&
                   found[j][i].score == peaks[j][i].score);
    }
}

// Each peak is one keypoint inside the image; missing keypoints are 0, 0.
void check_poses(const std::vector<Pose>& poses, const Peaks& peaks, double stride) {
    for (size_t j = 0; j < peaks.size(); ++j) {
        size_t found = 0;
        for (const Pose& pose : poses) {
            const Keypoint& keypoint = pose.keypoints.at(j);
            found += keypoint.score > 0;
            if (keypoint.score == 0) EXPECT(keypoint.x == 0 && keypoint.y == 0);
            if (keypoint.score > 0) EXPECT(keypoint.x >= -0.5 && keypoint.y >= -0.5 && keypoint.score <= 1);
        }
        EXPECT(found == peaks[j].size());
        if (found == 0) continue;
        const Peak& best = peaks[j][0];
        bool is_found = false;
        for (const Pose& pose : poses)
            is_found |= std::abs(pose.keypoints[j].x - (best.x * stride + stride / 2 - 0.5)) < 1e-9;
        EXPECT(is_found);
    }
}

// A ring of joints with limbs between consecutive ones, and maps of random values.
struct Ring {
    std::vector<float> values;
    std::vector<Map> keypoint_maps, limb_maps;
    std::vector<Limb> limbs;

    Ring(int height, int width, int joints, bool special_values, Random& random) {
        const size_t cells = static_cast<size_t>(height) * width;
        values.resize(2 * cells * joints);
        for (float& value : values) value = special_values ? special_value(random) : random.uniform();
        for (int j = 0; j < joints; ++j) keypoint_maps.push_back({values.data() + j * cells, height, width});
        for (int j = 0; j < joints && joints > 1; ++j) {
            limbs.push_back({j, (j + 1) % joints});
            limb_maps.push_back({values.data() + (joints + j) * cells, height, width});
        }
    }
};

void check_random(int height, int width, int joints, bool special_values, Random& random) {
    const Settings settings = lenient();
    const Ring ring(height, width, joints, special_values, random);
    const auto& limbs = ring.limbs;
    Peaks peaks;
    Scratch scratch;
    for (const Map& map : ring.keypoint_maps) {
        peaks.push_back(find_peaks(map, settings, scratch));
        check_peaks(peaks.back(), height, width, settings);
    }
    check_maxima(ring.keypoint_maps, peaks, settings, scratch);
    Connections connections;
    for (size_t k = 0; k < limbs.size(); ++k) {
        connections.push_back(connect_limb(ring.limb_maps[k], peaks[limbs[k].from], peaks[limbs[k].to], settings));
        EXPECT(connections.back().size() <= static_cast<size_t>(settings.max_connections));
        for (const Connection& connection : connections.back()) EXPECT(connection.score > 0);
    }
    std::vector<std::vector<int>> use_counts;
    for (const auto& joint_peaks : peaks) use_counts.emplace_back(joint_peaks.size());
    for (const Person& person : assemble_people(peaks, limbs, connections, settings)) {
        EXPECT(std::isfinite(person.score));
        for (int j = 0; j < joints; ++j)
            if (person.peaks[j] >= 0) EXPECT(use_counts[j].at(person.peaks[j])++ == 0);
    }
    for (const auto& joint_counts : use_counts)
        for (int count : joint_counts) EXPECT(count == 1);  // lenient: each peak is in one person
    check_poses(group(ring.limb_maps, ring.keypoint_maps, limbs, settings), peaks, settings.stride);
}

// The published rules on the same kind of maps; with them a peak may be in several people.
void check_reference(int height, int width, int joints, bool special_values, Random& random) {
    const Settings settings = lenient();
    const Ring ring(height, width, joints, special_values, random);
    const auto& limbs = ring.limbs;
    Peaks peaks;
    for (const Map& map : ring.keypoint_maps) {
        peaks.push_back(reference::find_peaks(map, settings));
        EXPECT(peaks.back().size() <= static_cast<size_t>(settings.max_peaks));
        for (const Peak& peak : peaks.back()) {
            EXPECT(peak.x >= -0.5 && peak.x <= width - 0.5 && peak.y >= -0.5 && peak.y <= height - 0.5);
            EXPECT(std::isfinite(peak.score) && peak.score > 0);
        }
    }
    Connections connections;
    for (size_t k = 0; k < limbs.size(); ++k) {
        const Peaks ends{peaks[limbs[k].from], peaks[limbs[k].to]};
        connections.push_back(reference::connect_limb(ring.limb_maps[k], ends[0], ends[1], settings));
        EXPECT(connections.back().size() <= std::min(ends[0].size(), ends[1].size()));
        for (const Connection& connection : connections.back()) EXPECT(connection.score > 0);
    }
    for (const Person& person : reference::assemble_people(peaks, limbs, connections, settings)) {
        EXPECT(std::isfinite(person.score) && person.score <= 1);
        for (int j = 0; j < joints; ++j) EXPECT(person.peaks[j] < static_cast<int>(peaks[j].size()));
    }
}

void check_empty_inputs() {
    const Settings settings = lenient();
    const float zero = 0;
    Scratch scratch;
    EXPECT(find_peaks({&zero, 1, 1}, settings, scratch).empty());
    EXPECT(connect_limb({&zero, 1, 1}, {}, {}, settings).empty());
    EXPECT(assemble_people({}, {}, {}, settings).empty());
    EXPECT(assemble_people({{}, {}}, {{0, 1}}, {{}}, settings).empty());
    EXPECT(reference::find_peaks({&zero, 1, 1}, settings).empty());
    EXPECT(reference::connect_limb({&zero, 1, 1}, {}, {}, settings).empty());
    EXPECT(reference::assemble_people({}, {}, {}, settings).empty());
}

void expect_error(const std::vector<Map>& limb_maps, const std::vector<Map>& keypoint_maps,
                    const std::vector<Limb>& limbs) {
    try {
        group(limb_maps, keypoint_maps, limbs);
    } catch (const std::invalid_argument&) {
        return;
    }
    EXPECT(!"an error for inconsistent limbs and maps");
}

void expect_error(const Peaks& peaks, const std::vector<Limb>& limbs, const Connections& connections) {
    try {
        assemble_poses(peaks, limbs, connections, {1, 3}, {});
    } catch (const std::invalid_argument&) {
        return;
    }
    EXPECT(!"an error for invalid peaks or connections");
}

void check_inconsistent_inputs() {
    const float cells[2] = {0, 0};
    const Map one{cells, 1, 1}, wide{cells, 1, 2}, empty{cells, 0, 1};
    expect_error({}, {one, one}, {{0, 1}});
    expect_error({one}, {}, {{0, 0}});
    expect_error({one}, {one, one}, {{0, 2}});
    expect_error({one}, {one, one}, {{-1, 1}});
    expect_error({one}, {one, one}, {{1, 1}});
    expect_error({one}, {one, wide}, {{0, 1}});
    expect_error({wide}, {one, one}, {{0, 1}});
    expect_error({}, {empty}, {});
    const Peaks peaks{{{0, 0, 1}}, {{1, 0, 1}, {2, 0, 1}}};
    expect_error(peaks, {{0, 1}}, {});
    expect_error(peaks, {{0, 2}}, {{}});
    for (const Connection& connection : {Connection{1, 0, 1}, {0, 2, 1}, {-1, 0, 1}, {0, -1, 1}})
        expect_error(peaks, {{0, 1}}, {{connection}});
    constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();
    for (const double score : {0.0, -1.0, NOT_A_NUMBER, HUGE_VAL}) expect_error(peaks, {{0, 1}}, {{{0, 0, score}}});
    for (const Peak& peak : {Peak{3, 0, 1}, {0, 1, 1}, {-1, 0, 1}, {0, NOT_A_NUMBER, 1}, {0, 0, NOT_A_NUMBER}})
        expect_error({{peak}, {}}, {}, {});
    EXPECT(assemble_poses(peaks, {{0, 1}}, {{{0, 1, 1}}}, {1, 3}, {}).size() == 1);
    EXPECT(group({}, {}, {}).empty());
    EXPECT(group({one}, {one, one}, {{0, 1}}).empty());
}

void check_invalid_settings() {
    constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();
    const auto expect_invalid = [](auto Settings::*field, auto value) {
        Settings settings;
        settings.*field = value;
        try {
            group({}, {}, {}, settings);
        } catch (const std::invalid_argument&) {
            return;
        }
        EXPECT(!"an error for an invalid setting");
    };
    for (const auto field : {&Settings::stride, &Settings::peak_threshold, &Settings::confident_peak,
                             &Settings::limb_threshold, &Settings::limb_support, &Settings::min_unassigned_score,
                             &Settings::unassigned_reach, &Settings::min_person_score, &Settings::score_area_exponent})
        for (const double value : {-1.0, NOT_A_NUMBER, HUGE_VAL}) expect_invalid(field, value);
    for (const auto field : {&Settings::max_peaks, &Settings::limb_samples, &Settings::max_connections,
                             &Settings::max_unassigned_keypoints, &Settings::min_person_keypoints})
        expect_invalid(field, -1);
    expect_invalid(&Settings::max_peaks, 0);
    expect_invalid(&Settings::limb_samples, 1);
    expect_invalid(&Settings::limb_support, 1.1);
    expect_invalid(&Settings::peak_threshold, 7e-46);  // 0 as float
}

void check_whole_plateau() {
    const std::vector<float> ones(128 * 160, 1.0F);
    Scratch scratch;
    const std::vector<Peak> peaks = find_peaks({ones.data(), 128, 160}, lenient(), scratch);
    EXPECT(peaks.size() == 1);
    EXPECT(std::abs(peaks[0].x - 79.5) < 1e-6 && std::abs(peaks[0].y - 63.5) < 1e-6);
}

}  // namespace

int main() {
    Random random{1};
    check_empty_inputs();
    check_inconsistent_inputs();
    check_invalid_settings();
    check_whole_plateau();
    const int sizes[][2] = {{1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 30}, {3, 3}, {17, 5}, {24, 31}};
    for (const auto& [height, width] : sizes)
        for (int joints = 1; joints <= 5; joints += 2)
            for (const bool special_values : {false, true}) {
                check_random(height, width, joints, special_values, random);
                check_reference(height, width, joints, special_values, random);
            }
    std::puts("all kernels passed");
}
