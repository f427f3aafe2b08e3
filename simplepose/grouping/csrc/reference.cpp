// The published peaks and limbs, on pixels of the enlarged maps.

#include "reference.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace simplepose::reference {
namespace {

constexpr double SHARPNESS = -0.75;  // of the cubic kernel: OpenCV's, which the published code enlarges with
constexpr int TAPS = 4;
constexpr int RADIUS = 2;  // of the box that a peak is refined in
constexpr double HALF_CELL = TIMES / 2.0 - 0.5;

constexpr double cubic(double distance) {
    const double d = distance < 0 ? -distance : distance, a = SHARPNESS;
    return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

// The first of the four cells that a pixel is made of, counted from the pixel's own cell.
constexpr int first_tap(int phase) { return phase < TIMES / 2 ? -2 : -1; }

// The weights of the four cells, for each place of a pixel within its cell.
constexpr auto WEIGHTS = [] {
    std::array<std::array<double, TAPS>, TIMES> weights{};
    for (int phase = 0; phase < TIMES; ++phase)
        for (int tap = 0; tap < TAPS; ++tap)
            weights[phase][tap] = cubic(first_tap(phase) + tap - (phase - HALF_CELL) / TIMES);
    return weights;
}();

struct Pixel {
    int x, y;
};

// The map as the published code has it: the border's cells go on beyond the border.
class Enlarged {
public:
    explicit Enlarged(const Map& map) : map_(map) {}

    bool holds(Pixel pixel) const {
        return pixel.x >= 0 && pixel.y >= 0 && pixel.x < TIMES * map_.width && pixel.y < TIMES * map_.height;
    }

    double at(Pixel pixel) const {
        const auto &across = WEIGHTS[pixel.x % TIMES], &down = WEIGHTS[pixel.y % TIMES];
        const int left = pixel.x / TIMES + first_tap(pixel.x % TIMES);
        const int top = pixel.y / TIMES + first_tap(pixel.y % TIMES);
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

bool is_peak(const Enlarged& enlarged, Pixel pixel, double value) {
    for (int y = pixel.y - 1; y <= pixel.y + 1; ++y)
        for (int x = pixel.x - 1; x <= pixel.x + 1; ++x)
            if (enlarged.holds({x, y}) && enlarged.at({x, y}) > value) return false;
    return true;
}

// Enlarged pixels that nothing beside them exceeds: equal neighbours are all peaks (published). A pixel that
// reaches the threshold is looked for only in cells of half of it and more.
std::vector<Peak> pixel_peaks(const Map& map, const Settings& settings) {
    const Enlarged enlarged(map);
    std::vector<Peak> peaks;
    const auto look_at = [&](Pixel pixel) {
        const double value = enlarged.at(pixel);
        if (value >= settings.peak_threshold && is_peak(enlarged, pixel, value))
            peaks.push_back({static_cast<double>(pixel.x), static_cast<double>(pixel.y), value});
    };
    for (int cell = 0; cell < map.width * map.height; ++cell) {
        const int x = cell % map.width, y = cell / map.width;
        if (map.at(x, y) < settings.peak_threshold / 2) continue;
        for (int i = 0; i < TIMES * TIMES; ++i) look_at({TIMES * x + i % TIMES, TIMES * y + i / TIMES});
    }
    return peaks;
}

// Moved to the centroid of the 5 x 5 box around it, with the box's mean for a score. Published faults, kept: the
// offset down goes to x and the one across to y; where the box leaves the picture the peak stays as it is.
// Not published: so it does where the box's sum is not positive, and it never leaves the box; only maps with
// negative values have such boxes.
Peak refined(const Enlarged& enlarged, const Peak& peak) {
    const int x = static_cast<int>(peak.x), y = static_cast<int>(peak.y);
    if (!enlarged.holds({x - RADIUS, y - RADIUS}) || !enlarged.holds({x + RADIUS, y + RADIUS})) return peak;
    double sum = 0, across = 0, down = 0;
    for (int dy = -RADIUS; dy <= RADIUS; ++dy) {
        for (int dx = -RADIUS; dx <= RADIUS; ++dx) {
            const double value = enlarged.at({x + dx, y + dy});
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

double in_pixels(double cells) { return TIMES * cells + HALF_CELL; }

// The mean of the samples at the nearest pixels, less what a limb longer than half the picture loses; 0 where
// too few samples exceed the threshold.
double limb_score(const Map& map, const Peak& from, const Peak& to, double length, const Settings& settings) {
    const Enlarged enlarged(map);
    const int samples = std::min(static_cast<int>(std::lround(length + 1)), settings.limb_samples);
    const double steps = std::max(samples - 1, 1);
    const double dx = (to.x - from.x) / steps, dy = (to.y - from.y) / steps;
    double sum = 0;
    int missing = 0;
    for (int i = 0; i < samples; ++i) {
        const double x = in_pixels(from.x + i * dx), y = in_pixels(from.y + i * dy);
        const double value = enlarged.at({static_cast<int>(std::lround(x)), static_cast<int>(std::lround(y))});
        sum += value;
        missing += value <= settings.limb_threshold;
        if (samples - missing < settings.limb_support * samples) return 0;
    }
    return sum / samples + std::min(0.5 * TIMES * map.height / length - 1, 0.0);
}

}  // namespace

std::vector<Peak> find_peaks(const Map& map, const Settings& settings) {
    std::vector<Peak> peaks = pixel_peaks(map, settings);
    std::stable_sort(peaks.begin(), peaks.end(), [](const Peak& a, const Peak& b) { return a.score > b.score; });
    if (peaks.size() > static_cast<size_t>(settings.max_peaks)) peaks.resize(settings.max_peaks);
    for (Peak& peak : peaks) {
        peak = refined(Enlarged(map), peak);
        peak.x = (peak.x - HALF_CELL) / TIMES;
        peak.y = (peak.y - HALF_CELL) / TIMES;
    }
    return peaks;
}

std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from, const std::vector<Peak>& to,
                                     const Settings& settings) {
    std::vector<std::pair<double, Connection>> candidates;  // by this, best first
    for (size_t i = 0; i < from.size(); ++i) {
        for (size_t j = 0; j < to.size(); ++j) {
            const double length = TIMES * std::hypot(to[j].x - from[i].x, to[j].y - from[i].y);
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
