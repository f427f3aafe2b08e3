// Unassigned keypoints: small groups without detected limbs to a person, attached to the person near them.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "grouping.h"

namespace simplepose {
namespace {

// The peaks of a group and their bounding box.
struct Outline {
    std::vector<const Peak*> peaks;
    Box box;

    Outline(const Peaks& all, const Members& members) : box(bounding_box(all, members)) {
        for (size_t joint = 0; joint < members.size(); ++joint)
            if (members[joint] >= 0) peaks.push_back(&all[joint][members[joint]]);
    }

    double mean_score() const {
        double sum = 0;
        for (const Peak* peak : peaks) sum += peak->score;
        return sum / static_cast<double>(peaks.size());
    }

    double extent() const { return std::hypot(box.right - box.left, box.bottom - box.top); }
};

double distance(const Box& a, const Box& b) {
    const double x = std::max({a.left - b.right, b.left - a.right, 0.0});
    const double y = std::max({a.top - b.bottom, b.top - a.bottom, 0.0});
    return std::hypot(x, y);
}

double distance(const Outline& a, const Outline& b) {
    double nearest = INFINITY;
    for (const Peak* p : a.peaks)
        for (const Peak* q : b.peaks) nearest = std::min(nearest, std::hypot(p->x - q->x, p->y - q->y));
    return nearest;
}

// A possible attachment of a small group to a person.
struct Attachment {
    double distance;  // relative to the person's extent
    int small, person;

    bool operator<(const Attachment& other) const {
        return std::tie(distance, small, person) < std::tie(other.distance, other.small, other.person);
    }
};

std::vector<Attachment> find_attachments(const std::vector<Outline>& outlines, const Settings& settings) {
    std::vector<Attachment> attachments;
    std::vector<char> is_small;
    for (const Outline& outline : outlines)
        is_small.push_back(outline.peaks.size() <= static_cast<size_t>(settings.max_unassigned_keypoints) &&
                           outline.mean_score() >= settings.min_unassigned_score);
    for (size_t person = 0; person < outlines.size(); ++person) {
        const double extent = outlines[person].extent(), max_distance = settings.unassigned_reach * extent;
        if (outlines[person].peaks.size() < 2 || max_distance == 0) continue;
        for (size_t small = 0; small < outlines.size(); ++small) {
            if (!is_small[small] || outlines[small].peaks.size() >= outlines[person].peaks.size()) continue;
            if (distance(outlines[small].box, outlines[person].box) > max_distance) continue;
            const double nearest = distance(outlines[small], outlines[person]);
            if (nearest > max_distance) continue;
            attachments.push_back({nearest / extent, static_cast<int>(small), static_cast<int>(person)});
        }
    }
    std::sort(attachments.begin(), attachments.end());
    return attachments;
}

}  // namespace

void attach_unassigned(const Peaks& peaks, const Settings& settings, std::vector<Members>& groups) {
    std::vector<Outline> outlines;
    for (const Members& members : groups) outlines.emplace_back(peaks, members);
    for (const Attachment& attachment : find_attachments(outlines, settings)) {
        Members &small = groups[attachment.small], &person = groups[attachment.person];
        if (small.empty() || person.empty() || have_common_joint(small, person)) continue;
        absorb(person, small);
    }
    groups.erase(std::remove(groups.begin(), groups.end(), Members{}), groups.end());
}

}  // namespace simplepose
