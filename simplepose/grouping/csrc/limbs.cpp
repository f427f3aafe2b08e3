// Connections: the pairs of peaks of two joints that a limb map supports.

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

// A negative score for limbs longer than half the maps' height, as in the published rules.
double length_penalty(double length, int height) { return std::min(0.5 * height / length - 1, 0.0); }

// The confidence of a limb from its weaker end: a weak false peak near a true one has the same limb map.
double confidence(const Peak& from, const Peak& to, const Settings& settings) {
    return std::min(std::min(from.score, to.score) / settings.confident_peak, 1.0);
}

// Keeps the best `max_count` connections of a limb, which are added in the order of their ends.
class BestConnections {
public:
    explicit BestConnections(int max_count) : max_count_(static_cast<size_t>(max_count)) {}

    // A connection must have a score above this.
    double floor() const { return heap_.size() < max_count_ ? 0.0 : heap_.front().score; }

    void add(const Connection& connection) {
        if (heap_.size() == max_count_) {
            std::pop_heap(heap_.begin(), heap_.end(), is_better);
            heap_.pop_back();
        }
        heap_.push_back(connection);
        std::push_heap(heap_.begin(), heap_.end(), is_better);
    }

    std::vector<Connection> release() { return std::move(heap_); }

private:
    static bool is_better(const Connection& a, const Connection& b) {  // the top of the heap is the worst
        return std::tie(b.score, a.from, a.to) < std::tie(a.score, b.from, b.to);
    }

    size_t max_count_;
    std::vector<Connection> heap_;
};

// The index of the n-th sample to read, from the middle outward: false limbs are rejected sooner in this order.
int middle_out(int n, int samples) { return (samples - 1) / 2 + (n % 2 ? (n + 1) / 2 : -(n / 2)); }

// Computes the score of the limb between two peaks, or `floor` if the score is not above it. The support of a limb
// is the value that a fraction `limb_support` of its samples reach, so that a bright part is not sufficient. Map
// values above 1 count as 1. `values` is a buffer for the samples.
double score_limb(const Map& map, const Peak& from, const Peak& to, const Settings& settings, double floor,
                  std::vector<double>& values) {
    const double across = to.x - from.x, down = to.y - from.y;
    const double length = std::sqrt(across * across + down * down);
    if (length == 0) return floor;
    const double weight = confidence(from, to, settings), penalty = length_penalty(length, map.height);
    const auto score = [&](double value) { return weight * value + penalty; };
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
    BestConnections best(settings.max_connections);
    std::vector<double> values;
    for (int i = 0; i < static_cast<int>(from.size()); ++i) {
        for (int j = 0; j < static_cast<int>(to.size()); ++j) {
            const double floor = best.floor();
            const double score = score_limb(map, from[i], to[j], settings, floor, values);
            if (score > floor) best.add({i, j, score});
        }
    }
    return best.release();
}

}  // namespace simplepose
