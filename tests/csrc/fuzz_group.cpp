// Fuzz test of simplepose::group on arbitrary bytes, which define settings, skeleton, map size and maps. Every result
// is checked for validity. Build it with sanitizers to detect invalid reads.
//
// fuzz_group_main.cpp runs the same inputs every time (tests/grouping/test_grouping_robust.py). With clang's
// libFuzzer, which searches for bytes that reach new code, from the repository's root:
//
//     KERNELS=$(ls simplepose/grouping/csrc/*.cpp | grep -v bindings)
//     FLAGS="-std=c++17 -O1 -g -Isimplepose/grouping/csrc -fno-sanitize-recover=all"
//     clang++ $FLAGS -fsanitize=fuzzer,address,undefined tests/csrc/fuzz_group.cpp $KERNELS -o fuzz_group
//     mkdir -p found && ./fuzz_group found -max_len=8192 -max_total_time=300

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "grouping.h"

using namespace simplepose;

namespace {

void expect(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "expected: %s\n", what);
    std::abort();
}

// Reads bytes one after another, and zeros after the end.
class Bytes {
public:
    Bytes(const std::uint8_t* bytes, size_t count) : next_(bytes), end_(bytes + count) {}

    std::uint8_t next() { return next_ == end_ ? 0 : *next_++; }

    int below(int count) { return next() % count; }

    template <typename Value, size_t N>
    Value one_of(const Value (&values)[N]) {
        return values[next() % N];
    }

    float raw() {
        std::uint8_t four[4];
        for (std::uint8_t& byte : four) byte = next();
        float value;
        std::memcpy(&value, four, 4);
        return value;
    }

private:
    const std::uint8_t *next_, *end_;
};

Settings read_settings(Bytes& bytes) {
    Settings settings;
    settings.rules = bytes.one_of({Rules::simplepose, Rules::reference});
    settings.stride = bytes.one_of({4.0, 0.5, 1000.0});
    settings.peak_threshold = bytes.one_of({0.1, 1e-3, 0.5, 1e-30});
    settings.max_peaks = bytes.one_of({16, 1, 2, 5});
    settings.confident_peak = bytes.one_of({0.5, 1e-3, 10.0});
    settings.limb_samples = bytes.one_of({20, 2, 3, 50});
    settings.limb_threshold = bytes.one_of({0.1, 0.0, 0.5});
    settings.limb_support = bytes.one_of({0.8, 1e-3, 0.5, 1.0});
    settings.max_connections = bytes.one_of({1024, 1, 2, 9});
    settings.max_unassigned_keypoints = bytes.below(5);
    settings.min_unassigned_score = bytes.one_of({0.25, 0.0, 0.5});
    settings.unassigned_reach = bytes.one_of({0.5, 0.0, 0.3, 100.0});
    settings.min_person_score = bytes.one_of({0.45, 0.0, 1.0});
    settings.min_person_keypoints = 1 + bytes.below(4);
    return settings;
}

enum Coding { quantized, levels, raw };  // of a map's cells

float read_cell(Bytes& bytes, Coding coding) {
    using Float = std::numeric_limits<float>;
    constexpr float SPECIAL_VALUES[] = {Float::quiet_NaN(), Float::infinity(), -Float::infinity(),
                               -1,                 Float::max(),      Float::denorm_min()};
    if (coding == raw) return bytes.raw();
    if (coding == levels) return bytes.one_of({0.0F, 0.2F, 0.5F, 1.0F});
    const std::uint8_t byte = bytes.next();
    if (byte >= 250) return SPECIAL_VALUES[byte - 250];
    return static_cast<float>(byte) / 200;
}

struct Input {
    Settings settings;
    int height, width;
    std::vector<std::vector<float>> cells;  // separate per map, so that a sanitizer detects reads beyond a map
    std::vector<Map> keypoint_maps, limb_maps;
    std::vector<Limb> limbs;

    explicit Input(Bytes& bytes) : settings(read_settings(bytes)) {
        const bool costly = settings.rules == Rules::reference;  // each cell is 16 pixels there
        const int shape = bytes.below(4), longest = costly ? 24 : 96;
        height = 1 + bytes.below(shape == 2 ? longest : costly ? 6 : 12);
        width = 1 + bytes.below(shape == 1 ? longest : costly ? 7 : 40);
        if (shape == 1 || shape == 3) height = 1;
        if (shape == 2 || shape == 3) width = 1;
        const int joints = bytes.below(7), limb_count = joints > 1 ? bytes.below(10) : 0;
        for (int k = 0; k < limb_count; ++k) {
            const int from = bytes.below(joints);
            limbs.push_back({from, (from + 1 + bytes.below(joints - 1)) % joints});
        }
        const auto coding = static_cast<Coding>(bytes.below(3));
        for (int j = 0; j < joints; ++j) keypoint_maps.push_back(read_map(bytes, coding));
        for (int k = 0; k < limb_count; ++k) limb_maps.push_back(read_map(bytes, coding));
    }

    // Makes limbs and maps inconsistent; returns false if there are too few of them.
    bool make_inconsistent(int how) {
        const int joints = static_cast<int>(keypoint_maps.size());
        if (how == 0 && joints > 0) {
            keypoint_maps.back().height = 0;
        } else if (how == 1 && joints > 1) {
            ++keypoint_maps.front().width;
        } else if (how == 2 && !limbs.empty()) {
            limb_maps.pop_back();
        } else if (how == 3 && !limbs.empty()) {
            ++limb_maps.front().height;
        } else if (how == 4 && !limbs.empty()) {
            limbs.back().to = joints;
        } else if (how == 5 && !limbs.empty()) {
            limbs.front().from = -1;
        } else if (how == 6 && !limbs.empty()) {
            limbs.back().from = limbs.back().to;
        } else {
            return false;
        }
        return true;
    }

private:
    Map read_map(Bytes& bytes, Coding coding) {
        cells.emplace_back(static_cast<size_t>(height) * width);
        for (float& cell : cells.back()) cell = read_cell(bytes, coding);
        return {cells.back().data(), height, width};
    }
};

void check_keypoint(const Keypoint& keypoint, const Input& input) {
    const double stride = input.settings.stride, rounding = 1e-9 * stride;
    const auto inside = [&](double place, int size) {
        return place >= -0.5 - rounding && place <= size * stride - 0.5 + rounding;
    };
    if (keypoint.score == 0) return expect(keypoint.x == 0 && keypoint.y == 0, "0, 0 for a missing joint");
    expect(keypoint.score > 0 && keypoint.score <= 1, "a joint's score in (0, 1]");
    expect(inside(keypoint.x, input.width) && inside(keypoint.y, input.height), "joints inside the map");
}

// Returns the highest possible score of a joint.
double max_joint_score(const Input& input) {
    double max_value = 0;
    for (const auto& map : input.keypoint_maps)
        for (int i = 0; i < map.height * map.width; ++i)
            if (std::isfinite(map.cells[i])) max_value = std::max<double>(max_value, map.cells[i]);
    return max_value;
}

void check_score(double score, int found, const Input& input) {
    const bool is_weighted = input.settings.score_area_exponent != 0;
    const double min_sum = is_weighted ? 0 : input.settings.min_person_score * found * (1 - 1e-9);
    expect(std::isfinite(score), "a finite score");
    if (input.settings.rules == Rules::reference) {
        expect(score <= 1 && (min_sum == 0 || score >= 1 - 1 / min_sum), "a reference score above the threshold");
        return;
    }
    const double limbs = static_cast<double>(input.limbs.size());
    const double sum = score * (static_cast<double>(input.keypoint_maps.size()) + limbs);
    expect(sum > 0 && sum >= min_sum, "a score above the threshold");
    expect(sum <= (found * max_joint_score(input) + limbs) * (1 + 1e-9), "a score that joints and limbs allow");
}

void check(const std::vector<Pose>& poses, const Input& input) {
    double before = std::numeric_limits<double>::infinity();
    for (const Pose& pose : poses) {
        expect(pose.keypoints.size() == input.keypoint_maps.size(), "one keypoint per joint");
        int found = 0;
        for (const Keypoint& keypoint : pose.keypoints) {
            check_keypoint(keypoint, input);
            found += keypoint.score > 0;
        }
        expect(found >= input.settings.min_person_keypoints, "people with at least min_person_keypoints joints");
        check_score(pose.score, found, input);
        expect(pose.score <= before, "people sorted by score");
        before = pose.score;
    }
}

bool same(const std::vector<Pose>& some, const std::vector<Pose>& others) {
    const auto same_keypoint = [](const Keypoint& a, const Keypoint& b) {
        return a.x == b.x && a.y == b.y && a.score == b.score;
    };
    const auto same_pose = [&](const Pose& a, const Pose& b) {
        return a.score == b.score &&
               std::equal(a.keypoints.begin(), a.keypoints.end(), b.keypoints.begin(), same_keypoint);
    };
    return std::equal(some.begin(), some.end(), others.begin(), others.end(), same_pose);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
    Bytes bytes(data, size);
    const int first = bytes.next(), how = first % 64;
    Input input(bytes);
    const double exponents[] = {0.0, 0.1, 1.0, 2.0};
    input.settings.score_area_exponent = exponents[first / 64];
    const bool is_inconsistent = input.make_inconsistent(how);
    try {
        Scratch scratch;
        const auto run_group = [&] {
            return group(input.limb_maps, input.keypoint_maps, input.limbs, input.settings, scratch);
        };
        const auto poses = run_group();
        expect(!is_inconsistent, "an error for inconsistent limbs and maps");
        check(poses, input);
        expect(same(poses, run_group()), "the same people with a used scratch buffer");
    } catch (const std::invalid_argument& error) {
        expect(is_inconsistent, error.what());
    }
    return 0;
}
