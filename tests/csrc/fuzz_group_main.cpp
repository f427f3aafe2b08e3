// Runs fuzz_group.cpp without libFuzzer on the same inputs every time. Most inputs are coarsely drawn people with
// random changes, so that plateaus, limbs and unassigned keypoints occur; some are random bytes. `fuzz_group FIRST END`
// runs only the inputs with these numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size);

namespace {

constexpr int INPUTS = 6000;

// The input format of fuzz_group.cpp.
constexpr std::uint8_t CONSISTENT = 63;  // consistent limbs and maps; + 64, 128, 192: scores weighted by area
constexpr int SETTINGS = 14;             // bytes of the settings, the rules first
constexpr std::uint8_t QUANTIZED = 0;    // one byte per cell
constexpr int FIRST_SPECIAL_VALUE = 250; // the first of six special values

using Buffer = std::vector<std::uint8_t>;
using Random = std::mt19937;  // the same numbers on all platforms, unlike the standard distributions

int below(Random& random, size_t count) { return static_cast<int>(random() % count); }
double uniform(Random& random) { return below(random, 1000) / 1000.0; }

struct Point {
    double x, y;
};

double to_segment(Point p, Point a, Point b) {
    const double dx = b.x - a.x, dy = b.y - a.y, squared = dx * dx + dy * dy;
    const double along = squared > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / squared, 0.0, 1.0) : 0;
    return std::hypot(p.x - a.x - along * dx, p.y - a.y - along * dy);
}

using Lines = std::vector<std::pair<Point, Point>>;

// Draws a map with these lines (a joint is a line of length 0); the first line is the weakest.
void draw(Buffer& bytes, int height, int width, const Lines& lines, Random& random) {
    const int mask = below(random, 4) ? 0xFF : 0xE0;  // coarse steps give many equal neighbors
    for (int i = 0; i < height * width; ++i) {
        double value = 0.02 * uniform(random), strength = 0.3;
        for (const auto& [begin, end] : lines) {
            const double distance = to_segment({1.0 * (i % width), 1.0 * (i / width)}, begin, end);
            strength += 0.7 / static_cast<double>(lines.size());
            value = std::max(value, strength * std::exp(-distance * distance / 2));
        }
        bytes.push_back(static_cast<std::uint8_t>(static_cast<int>(200 * value) & mask));
    }
}

// Adds a person whose joints lie on a ring of limbs; some joints and limbs are missing.
void add_person(std::vector<Lines>& keypoints, std::vector<Lines>& limbs, int height, int width, Random& random) {
    const size_t joints = keypoints.size();
    const double x = uniform(random) * width, y = uniform(random) * height, size = 1 + uniform(random) * height / 2;
    std::vector<Point> body;
    for (size_t j = 0; j < joints; ++j) {
        const double angle = 6.283 * static_cast<double>(j) / static_cast<double>(joints);
        body.push_back({x + size * std::cos(angle), y + size * std::sin(angle)});
    }
    for (size_t j = 0; j < joints; ++j) {
        if (below(random, 8)) keypoints[j].emplace_back(body[j], body[j]);
        if (below(random, 4)) limbs[j].emplace_back(body[j], body[(j + 1) % joints]);
    }
}

Buffer draw_people(Random& random) {
    const bool reference = below(random, 4) == 0;
    const int height = reference ? 6 : 12, width = reference ? 7 : 40, joints = 3 + below(random, 4);
    Buffer bytes{CONSISTENT, reference};
    for (int i = 1; i < SETTINGS; ++i) bytes.push_back(static_cast<std::uint8_t>(below(random, 4) ? 0 : random()));
    for (const int number : {0, height - 1, width - 1, joints, joints})
        bytes.push_back(static_cast<std::uint8_t>(number));
    for (int j = 0; j < joints; ++j) bytes.insert(bytes.end(), {static_cast<std::uint8_t>(j), 0});
    bytes.push_back(QUANTIZED);

    std::vector<Lines> keypoints(joints), limbs(joints);
    for (int person = below(random, reference ? 3 : 5); person > 0; --person)
        add_person(keypoints, limbs, height, width, random);
    for (const auto* maps : {&keypoints, &limbs})
        for (const Lines& lines : *maps) draw(bytes, height, width, lines, random);
    return bytes;
}

void mutate(Buffer& bytes, Random& random) {
    const size_t begin = random() % bytes.size(), max_count = std::min<size_t>(bytes.size() - begin, 60);
    const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(begin);
    const size_t count = random() % max_count;
    const auto value = static_cast<std::uint8_t>(below(random, 3) ? random() : FIRST_SPECIAL_VALUE + random() % 6);
    switch (below(random, 8)) {
        case 0: std::fill_n(from, count, value); break;
        case 1: std::copy_n(from, count, bytes.begin() + below(random, begin + 1)); break;
        case 2: bytes.resize(bytes.size() - count); break;
        case 3: bytes[below(random, std::min<size_t>(bytes.size(), 40))] = value; break;
        default: *from = value;
    }
}

Buffer make_input(int number) {
    Random random(static_cast<std::uint32_t>(number));
    Buffer bytes;
    if (number % 8) {
        bytes = draw_people(random);
        bytes[0] = static_cast<std::uint8_t>(bytes[0] + 64 * (number / 8 % 4));
    } else {
        bytes.resize(1 + random() % 2000);
        for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    }
    for (int changes = below(random, 12); changes > 0; --changes) mutate(bytes, random);
    return bytes;
}

}  // namespace

int main(int count, char** arguments) {
    const int first = count == 3 ? std::atoi(arguments[1]) : 0, end = count == 3 ? std::atoi(arguments[2]) : INPUTS;
    for (int number = first; number < end; ++number) {
        const Buffer bytes = make_input(number);
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::printf("inputs %d to %d passed\n", first, end - 1);
}
