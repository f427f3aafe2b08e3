// Groups: peaks that limbs connect, at most one per joint.

#include <algorithm>
#include <cmath>
#include <map>
#include <queue>
#include <tuple>

#include "grouping.h"

namespace simplepose {

Box bounding_box(const Peaks& peaks, const Members& members) {
    Box box{INFINITY, INFINITY, -INFINITY, -INFINITY};
    for (size_t joint = 0; joint < members.size(); ++joint) {
        if (members[joint] < 0) continue;
        const Peak& peak = peaks[joint][members[joint]];
        box = {std::min(box.left, peak.x), std::min(box.top, peak.y), std::max(box.right, peak.x),
               std::max(box.bottom, peak.y)};
    }
    return box;
}

bool have_common_joint(const Members& a, const Members& b) {
    for (size_t joint = 0; joint < a.size(); ++joint)
        if (a[joint] >= 0 && b[joint] >= 0) return true;
    return false;
}

void absorb(Members& group, Members& other) {
    for (size_t joint = 0; joint < group.size(); ++joint) group[joint] = std::max(group[joint], other[joint]);
    other.clear();
}

namespace {

// Two groups with the sum of the scores of all limbs between them.
struct Link {
    double strength;
    int low, high;  // low < high

    bool operator<(const Link& other) const {  // top of the queue: the strongest, then the lowest indices
        return std::tie(strength, other.low, other.high) < std::tie(other.strength, low, high);
    }
};

// Greedy merging: each peak starts as a group. Repeatedly, the two groups with the strongest link are merged, unless
// both have the same joint. All limbs between two groups vote together, so that one false limb is outvoted,
// independent of the order of the limbs.
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
            // Links only grow: outdated entries come after the current one, when the link is already removed.
            if (links_[top.low].erase(top.high) == 0) continue;
            links_[top.high].erase(top.low);
            if (!have_common_joint(members_[top.low], members_[top.high])) merge(top.low, top.high);
        }
    }

    // Returns the groups that were not merged into others.
    std::vector<Members> release() {
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
        absorb(members_[low], members_[high]);
        for (const auto& [other, strength] : links_[high]) {
            links_[other].erase(high);
            strengthen(low, other, strength);
        }
        links_[high].clear();
    }

    std::vector<int> first_;                    // for each joint: the group of its first peak
    std::vector<Members> members_;              // for each group; empty after a merge into another
    std::vector<std::map<int, double>> links_;  // for each group: linked groups and strengths
    std::priority_queue<Link> queue_;           // all links, including outdated ones
};

}  // namespace

std::vector<Members> merge_groups(const Peaks& peaks, const std::vector<Limb>& limbs,
                                  const Connections& connections) {
    Groups groups(peaks);
    for (size_t k = 0; k < limbs.size(); ++k)
        for (const Connection& connection : connections[k]) groups.link(limbs[k], connection);
    groups.merge_all();
    return groups.release();
}

}  // namespace simplepose
