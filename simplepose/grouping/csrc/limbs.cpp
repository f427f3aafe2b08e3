// Limbs: which peaks of two joints a limb map may connect.

#include <algorithm>
#include <cmath>
#include <functional>

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

// Limbs longer than half the maps' height lose score, as in the published rule.
double length_penalty(double length, int height) { return std::min(0.5 * height / length - 1, 0.0); }

// A limb is no surer than its weaker end: a faint peak beside a true one lies on the same limb map.
double sureness(const Peak& from, const Peak& to, const Settings& settings) {
    return std::min(std::min(from.score, to.score) / settings.sure_peak, 1.0);
}

// The value that a share of `limb_support` of the samples between two points reaches: a limb is as
// strong as the map is all along it, however bright a part may be. 0 where that is not above the threshold.
// `values` is room for the samples.
double support(const Map& map, const Peak& from, const Peak& to, double length, const Settings& settings,
               std::vector<double>& values) {
    const int samples = std::clamp(static_cast<int>(std::lround(length)) + 1, 2, settings.limb_samples);
    const int needed = static_cast<int>(std::ceil(settings.limb_support * samples));
    const double dx = (to.x - from.x) / (samples - 1), dy = (to.y - from.y) / (samples - 1);
    int missing = 0;
    values.clear();
    for (int i = 0; i < samples; ++i) {
        values.push_back(map.interpolated(from.x + i * dx, from.y + i * dy));
        if (values.back() <= settings.limb_threshold && ++missing > samples - needed) return 0;
    }
    std::nth_element(values.begin(), values.begin() + (needed - 1), values.end(), std::greater<double>());
    return values[needed - 1];
}

}  // namespace

std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from,
                                     const std::vector<Peak>& to, const Settings& settings) {
    std::vector<Connection> connections;
    std::vector<double> values;
    for (size_t i = 0; i < from.size(); ++i) {
        for (size_t j = 0; j < to.size(); ++j) {
            const double dx = to[j].x - from[i].x, dy = to[j].y - from[i].y;
            const double length = std::sqrt(dx * dx + dy * dy);
            if (length == 0) continue;
            const double score = sureness(from[i], to[j], settings) *
                                     support(map, from[i], to[j], length, settings, values) +
                                 length_penalty(length, map.height);
            if (score > 0) connections.push_back({static_cast<int>(i), static_cast<int>(j), score});
        }
    }
    const auto most = static_cast<std::ptrdiff_t>(settings.max_connections);
    if (static_cast<std::ptrdiff_t>(connections.size()) > most) {
        const auto better = [](const Connection& a, const Connection& b) {
            return a.score != b.score ? a.score > b.score : a.from != b.from ? a.from < b.from : a.to < b.to;
        };
        std::nth_element(connections.begin(), connections.begin() + most, connections.end(), better);
        connections.resize(settings.max_connections);
    }
    return connections;
}

}  // namespace simplepose
