// Groups: peaks, no two of the same joint, that limbs hold together.

#include <algorithm>
#include <map>
#include <queue>
#include <tuple>

#include "grouping.h"

namespace simplepose {

bool share_a_joint(const Members& a, const Members& b) {
    for (size_t joint = 0; joint < a.size(); ++joint)
        if (a[joint] >= 0 && b[joint] >= 0) return true;
    return false;
}

void take_in(Members& group, Members& other) {
    for (size_t joint = 0; joint < group.size(); ++joint) group[joint] = std::max(group[joint], other[joint]);
    other.clear();
}

namespace {

// Two groups and the sum of the scores of all limbs between them.
struct Link {
    double strength;
    int low, high;  // low < high

    bool operator<(const Link& other) const {  // the queue's top: the strongest, then the lowest numbers
        return std::tie(strength, other.low, other.high) < std::tie(other.strength, low, high);
    }
};

// At first each peak is a group of its own; the two that are linked most strongly become one, again
// and again, unless they hold the same joint twice. All limbs between two groups vote together, so
// that one false limb is outvoted, whatever the order in which the limbs are listed.
class Groups {
public:
    explicit Groups(const Peaks& peaks) {
        for (size_t joint = 0; joint < peaks.size(); ++joint) {
            first_.push_back(static_cast<int>(members_.size()));
            for (size_t i = 0; i < peaks[joint].size(); ++i) {
                members_.emplace_back(peaks.size(), -1);
                members_.back()[joint] = static_cast<int>(i);
            }
        }
        links_.resize(members_.size());
    }

    void link(const Limb& limb, const Connection& connection) {
        strengthen(first_[limb.from] + connection.from, first_[limb.to] + connection.to, connection.score);
    }

    void merge_all() {
        while (!queue_.empty()) {
            const Link top = queue_.top();
            queue_.pop();
            // A link only grows: what it was once comes after what it is, when it is gone already.
            if (links_[top.low].erase(top.high) == 0) continue;
            links_[top.high].erase(top.low);
            if (!share_a_joint(members_[top.low], members_[top.high])) merge(top.low, top.high);
        }
    }

    // What is left of them.
    std::vector<Members> take() {
        members_.erase(std::remove(members_.begin(), members_.end(), Members{}), members_.end());
        return std::move(members_);
    }

private:
    void strengthen(int a, int b, double score) {
        const double strength = links_[a][b] += score;
        links_[b][a] = strength;
        queue_.push({strength, std::min(a, b), std::max(a, b)});
    }

    void merge(int low, int high) {
        take_in(members_[low], members_[high]);
        for (const auto& [other, strength] : links_[high]) {
            links_[other].erase(high);
            strengthen(low, other, strength);
        }
        links_[high].clear();
    }

    std::vector<int> first_;                    // of each joint: the group of its first peak
    std::vector<Members> members_;              // of each group; empty once it is part of another
    std::vector<std::map<int, double>> links_;  // of each group: others, and how strongly
    std::priority_queue<Link> queue_;           // every link there ever was
};

}  // namespace

std::vector<Members> merge_groups(const Peaks& peaks, const std::vector<Limb>& limbs,
                                  const Connections& connections) {
    Groups groups(peaks);
    for (size_t k = 0; k < limbs.size(); ++k)
        for (const Connection& connection : connections[k]) groups.link(limbs[k], connection);
    groups.merge_all();
    return groups.take();
}

}  // namespace simplepose
