// The published peaks and connections, on pixels of the upsampled maps.

#include "reference.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace simplepose::reference {
namespace {

constexpr double SHARPNESS = -0.75;  // of the cubic kernel, as in OpenCV, which the published code uses
constexpr int TAPS = 4;
constexpr int RADIUS = 2;  // of the box for the refinement of a peak
constexpr double HALF_CELL = SCALE / 2.0 - 0.5;

constexpr double cubic(double distance) {
    const double d = distance < 0 ? -distance : distance, a = SHARPNESS;
    return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

// The first of the four cells that a pixel depends on, relative to the pixel's own cell.
constexpr int first_tap(int phase) { return phase < SCALE / 2 ? -2 : -1; }

// The weights of the four cells, for each position of a pixel within its cell.
constexpr auto WEIGHTS = [] {
    std::array<std::array<double, TAPS>, SCALE> weights{};
    for (int phase = 0; phase < SCALE; ++phase)
        for (int tap = 0; tap < TAPS; ++tap)
            weights[phase][tap] = cubic(first_tap(phase) + tap - (phase - HALF_CELL) / SCALE);
    return weights;
}();

struct Pixel {
    int x, y;
};

// The upsampled map of the published code; cells beyond the border repeat the border.
class UpsampledMap {
public:
    explicit UpsampledMap(const Map& map) : map_(map) {}

    bool contains(Pixel pixel) const {
        return pixel.x >= 0 && pixel.y >= 0 && pixel.x < SCALE * map_.width && pixel.y < SCALE * map_.height;
    }

    double at(Pixel pixel) const {
        const auto &across = WEIGHTS[pixel.x % SCALE], &down = WEIGHTS[pixel.y % SCALE];
        const int left = pixel.x / SCALE + first_tap(pixel.x % SCALE);
        const int top = pixel.y / SCALE + first_tap(pixel.y % SCALE);
        double sum = 0;
        for (int j = 0; j < TAPS; ++j) {
            const int y = std::clamp(top + j, 0, map_.height - 1);
            double row = 0;
            for (int i = 0; i < TAPS; ++i) row += across[i] * cell(std::clamp(left + i, 0, map_.width - 1), y);
            sum += down[j] * row;
        }
        return sum;
    }

private:
    double cell(int x, int y) const {
        const float value = map_.cells[static_cast<long>(y) * map_.width + x];
        return std::isfinite(value) ? value : 0.0;
    }

    const Map& map_;
};

bool is_peak(const UpsampledMap& upsampled, Pixel pixel, double value) {
    for (int y = pixel.y - 1; y <= pixel.y + 1; ++y)
        for (int x = pixel.x - 1; x <= pixel.x + 1; ++x)
            if (upsampled.contains({x, y}) && upsampled.at({x, y}) > value) return false;
    return true;
}

// Finds the upsampled pixels without a higher neighbor: equal neighbors are all peaks (published). Only cells of at
// least half the threshold are searched.
std::vector<Peak> pixel_peaks(const Map& map, const Settings& settings) {
    const UpsampledMap upsampled(map);
    std::vector<Peak> peaks;
    const auto check_pixel = [&](Pixel pixel) {
        const double value = upsampled.at(pixel);
        if (value >= settings.peak_threshold && is_peak(upsampled, pixel, value))
            peaks.push_back({static_cast<double>(pixel.x), static_cast<double>(pixel.y), value});
    };
    for (int cell = 0; cell < map.width * map.height; ++cell) {
        const int x = cell % map.width, y = cell / map.width;
        if (map.at(x, y) < settings.peak_threshold / 2) continue;
        for (int i = 0; i < SCALE * SCALE; ++i) check_pixel({SCALE * x + i % SCALE, SCALE * y + i / SCALE});
    }
    return peaks;
}

// Moves a peak to the centroid of the 5 x 5 box around it, with the box's mean as score. Faults of the published
// code are kept: the vertical offset is added to x and the horizontal one to y, and a peak whose box crosses the
// border is not refined. Not published: a peak whose box has no positive sum is not refined, and a peak never
// leaves its box. Both only matter for maps with negative values.
Peak refine(const UpsampledMap& upsampled, const Peak& peak) {
    const int x = static_cast<int>(peak.x), y = static_cast<int>(peak.y);
    if (!upsampled.contains({x - RADIUS, y - RADIUS}) || !upsampled.contains({x + RADIUS, y + RADIUS})) return peak;
    double sum = 0, across = 0, down = 0;
    for (int dy = -RADIUS; dy <= RADIUS; ++dy) {
        for (int dx = -RADIUS; dx <= RADIUS; ++dx) {
            const double value = upsampled.at({x + dx, y + dy});
            sum += value;
            across += value * dx;
            down += value * dy;
        }
    }
    if (!(sum > 0)) return peak;
    const auto offset = [&](double moment) { return std::clamp<double>(moment / sum, -RADIUS, RADIUS); };
    constexpr int BOX = (2 * RADIUS + 1) * (2 * RADIUS + 1);
    return {x + offset(down), y + offset(across), sum / BOX};
}

double to_upsampled_pixels(double cells) { return SCALE * cells + HALF_CELL; }

// The mean of the samples at the nearest pixels minus the penalty for limbs longer than half the image; 0 if too few
// samples exceed the threshold.
double limb_score(const Map& map, const Peak& from, const Peak& to, double length, const Settings& settings) {
    const UpsampledMap upsampled(map);
    const int samples = std::min(static_cast<int>(std::lround(length + 1)), settings.limb_samples);
    const double steps = std::max(samples - 1, 1);
    const double dx = (to.x - from.x) / steps, dy = (to.y - from.y) / steps;
    double sum = 0;
    int missing = 0;
    for (int i = 0; i < samples; ++i) {
        const double x = to_upsampled_pixels(from.x + i * dx), y = to_upsampled_pixels(from.y + i * dy);
        const double value = upsampled.at({static_cast<int>(std::lround(x)), static_cast<int>(std::lround(y))});
        sum += value;
        missing += value <= settings.limb_threshold;
        if (samples - missing < settings.limb_support * samples) return 0;
    }
    return sum / samples + std::min(0.5 * SCALE * map.height / length - 1, 0.0);
}

}  // namespace

std::vector<Peak> find_peaks(const Map& map, const Settings& settings) {
    std::vector<Peak> peaks = pixel_peaks(map, settings);
    std::stable_sort(peaks.begin(), peaks.end(), [](const Peak& a, const Peak& b) { return a.score > b.score; });
    if (peaks.size() > static_cast<size_t>(settings.max_peaks)) peaks.resize(settings.max_peaks);
    for (Peak& peak : peaks) {
        peak = refine(UpsampledMap(map), peak);
        peak.x = (peak.x - HALF_CELL) / SCALE;
        peak.y = (peak.y - HALF_CELL) / SCALE;
    }
    return peaks;
}

std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from, const std::vector<Peak>& to,
                                     const Settings& settings) {
    std::vector<std::pair<double, Connection>> candidates;  // sorted by the first, best first
    for (size_t i = 0; i < from.size(); ++i) {
        for (size_t j = 0; j < to.size(); ++j) {
            const double length = SCALE * std::hypot(to[j].x - from[i].x, to[j].y - from[i].y);
            if (length == 0) continue;
            const double score = limb_score(map, from[i], to[j], length, settings);
            const double rank = 0.5 * score + 0.25 * from[i].score + 0.25 * to[j].score;
            if (score > 0) candidates.push_back({rank, {static_cast<int>(i), static_cast<int>(j), score}});
        }
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<char> from_used(from.size()), to_used(to.size());
    std::vector<Connection> connections;
    for (const auto& [rank, connection] : candidates) {
        if (from_used[connection.from] || to_used[connection.to]) continue;
        from_used[connection.from] = to_used[connection.to] = 1;
        connections.push_back(connection);
    }
    return connections;
}

}  // namespace simplepose::reference
