// Limbs: which peaks of two joints a limb map connects.

#include <algorithm>
#include <cmath>

#include "grouping.h"

namespace simplepose {

double Map::interpolated(double x, double y) const {
    x = std::clamp(x, 0.0, width - 1.0);
    y = std::clamp(y, 0.0, height - 1.0);
    const int left = static_cast<int>(x), top = static_cast<int>(y);
    const int right = std::min(left + 1, width - 1), bottom = std::min(top + 1, height - 1);
    const float* upper = cells + static_cast<long>(top) * width;
    const float* lower = cells + static_cast<long>(bottom) * width;
    const double a = x - left, b = y - top;
    const double above = upper[left] * (1 - a) + upper[right] * a;
    const double below = lower[left] * (1 - a) + lower[right] * a;
    const double value = above * (1 - b) + below * b;
    return std::isfinite(value) ? value : 0.0;
}

namespace {

struct Candidate {
    Connection connection;
    double rank;
};

// Limbs longer than half the picture's height lose score (as in the published rule).
double length_penalty(double length, int height) { return std::min(0.5 * height / length - 1, 0.0); }

// The limb's score between two peaks; 0 or less: there is none.
double limb_score(const Map& map, const Peak& from, const Peak& to, double length, const Settings& settings) {
    const int samples = std::clamp(static_cast<int>(std::lround(length)) + 1, 2, settings.limb_samples);
    const double dx = (to.x - from.x) / (samples - 1), dy = (to.y - from.y) / (samples - 1);
    int unsupported = 0;
    double sum = 0;
    for (int i = 0; i < samples; ++i) {
        const double value = map.interpolated(from.x + i * dx, from.y + i * dy);
        if (value <= settings.limb_threshold && ++unsupported > (1 - settings.limb_support) * samples) return 0;
        sum += value;
    }
    return sum / samples + length_penalty(length, map.height);
}

std::vector<Candidate> limb_candidates(const Map& map, const std::vector<Peak>& from,
                                       const std::vector<Peak>& to, const Settings& settings) {
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < from.size(); ++i) {
        for (size_t j = 0; j < to.size(); ++j) {
            const double dx = to[j].x - from[i].x, dy = to[j].y - from[i].y;
            const double length = std::sqrt(dx * dx + dy * dy);
            if (length == 0) continue;
            const double score = limb_score(map, from[i], to[j], length, settings);
            if (score <= 0) continue;
            const double rank = 0.5 * score + 0.25 * from[i].score + 0.25 * to[j].score;
            candidates.push_back({{static_cast<int>(i), static_cast<int>(j), score, length}, rank});
        }
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.rank > b.rank; });
    return candidates;
}

}  // namespace

std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from,
                                     const std::vector<Peak>& to, const Settings& settings) {
    std::vector<char> from_used(from.size()), to_used(to.size());
    std::vector<Connection> connections;
    for (const auto& [connection, rank] : limb_candidates(map, from, to, settings)) {
        if (from_used[connection.from] || to_used[connection.to]) continue;
        from_used[connection.from] = to_used[connection.to] = 1;
        connections.push_back(connection);
    }
    return connections;
}

}  // namespace simplepose
