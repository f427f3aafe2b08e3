// Limbs: which peaks of two joints a limb map may connect.

#include <algorithm>
#include <cmath>
#include <functional>
#include <tuple>

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

// The best `most` connections of a limb, added in the order of their ends.
class Best {
public:
    explicit Best(int most) : most_(static_cast<size_t>(most)) {}

    // A score that is not above this is not among the best.
    double floor() const { return heap_.size() < most_ ? 0.0 : heap_.front().score; }

    void add(const Connection& connection) {
        if (heap_.size() == most_) {
            std::pop_heap(heap_.begin(), heap_.end(), better);
            heap_.pop_back();
        }
        heap_.push_back(connection);
        std::push_heap(heap_.begin(), heap_.end(), better);
    }

    std::vector<Connection> take() { return std::move(heap_); }

private:
    static bool better(const Connection& a, const Connection& b) {  // a heap's top is the worst
        return std::tie(b.score, a.from, a.to) < std::tie(a.score, b.from, b.to);
    }

    size_t most_;
    std::vector<Connection> heap_;
};

// The place of the n-th sample to look at: from the middle outwards, where a limb that is none soon shows it.
int middle_out(int n, int samples) { return (samples - 1) / 2 + (n % 2 ? (n + 1) / 2 : -(n / 2)); }

// The score of the limb between two peaks, or `floor` if it is not above that. Along a limb the map's values
// count at most 1, and the limb is as strong as the map is all along it, however bright a part may be: the value that
// a share of `limb_support` of the samples reach. `values` is room for the samples.
double score_limb(const Map& map, const Peak& from, const Peak& to, const Settings& settings, double floor,
                  std::vector<double>& values) {
    const double across = to.x - from.x, down = to.y - from.y;
    const double length = std::sqrt(across * across + down * down);
    if (length == 0) return floor;
    const double sure = sureness(from, to, settings), penalty = length_penalty(length, map.height);
    const auto score = [&](double value) { return sure * value + penalty; };
    if (score(1) <= floor) return floor;

    const int samples = std::clamp(static_cast<int>(std::lround(length)) + 1, 2, settings.limb_samples);
    const int needed = static_cast<int>(std::ceil(settings.limb_support * samples));
    const double dx = across / (samples - 1), dy = down / (samples - 1);
    int missing = 0;
    values.clear();
    for (int n = 0; n < samples; ++n) {
        const int i = middle_out(n, samples);
        const double value = std::min(map.interpolated(from.x + i * dx, from.y + i * dy), 1.0);
        if ((value <= settings.limb_threshold || score(value) <= floor) && ++missing > samples - needed) return floor;
        values.push_back(value);
    }
    std::nth_element(values.begin(), values.begin() + (needed - 1), values.end(), std::greater<double>());
    return score(values[needed - 1]);
}

}  // namespace

std::vector<Connection> connect_limb(const Map& map, const std::vector<Peak>& from,
                                     const std::vector<Peak>& to, const Settings& settings) {
    Best best(settings.max_connections);
    std::vector<double> values;
    for (int i = 0; i < static_cast<int>(from.size()); ++i) {
        for (int j = 0; j < static_cast<int>(to.size()); ++j) {
            const double floor = best.floor();
            const double score = score_limb(map, from[i], to[j], settings, floor, values);
            if (score > floor) best.add({i, j, score});
        }
    }
    return best.take();
}

}  // namespace simplepose
