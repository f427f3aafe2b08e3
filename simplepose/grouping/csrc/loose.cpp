// Loose groups: a few joints whose limbs the network did not see, given to the person that they lie at.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "grouping.h"

namespace simplepose {
namespace {

// What of a group counts here: its peaks' places, and the box around them.
struct Outline {
    std::vector<const Peak*> peaks;
    double left, top, right, bottom;

    Outline(const Peaks& all, const Members& members) {
        for (size_t joint = 0; joint < members.size(); ++joint)
            if (members[joint] >= 0) peaks.push_back(&all[joint][members[joint]]);
        left = right = peaks[0]->x;
        top = bottom = peaks[0]->y;
        for (const Peak* peak : peaks) {
            left = std::min(left, peak->x);
            right = std::max(right, peak->x);
            top = std::min(top, peak->y);
            bottom = std::max(bottom, peak->y);
        }
    }

    double mean_score() const {
        double sum = 0;
        for (const Peak* peak : peaks) sum += peak->score;
        return sum / static_cast<double>(peaks.size());
    }

    double extent() const { return std::hypot(right - left, bottom - top); }
};

double gap(const Outline& a, const Outline& b) {
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

struct Offer {
    double distance;  // as a share of the person's extent
    int loose, person;

    bool operator<(const Offer& other) const {
        return std::tie(distance, loose, person) < std::tie(other.distance, other.loose, other.person);
    }
};

std::vector<Offer> offers(const std::vector<Outline>& outlines, const Settings& settings) {
    std::vector<Offer> found;
    std::vector<char> may_be_given;
    for (const Outline& outline : outlines)
        may_be_given.push_back(outline.peaks.size() <= static_cast<size_t>(settings.loose_joints) &&
                               outline.mean_score() >= settings.loose_score);
    for (size_t person = 0; person < outlines.size(); ++person) {
        const double extent = outlines[person].extent(), reach = settings.loose_reach * extent;
        if (outlines[person].peaks.size() < 2 || reach == 0) continue;
        for (size_t loose = 0; loose < outlines.size(); ++loose) {
            if (!may_be_given[loose] || outlines[loose].peaks.size() >= outlines[person].peaks.size()) continue;
            if (gap(outlines[loose], outlines[person]) > reach) continue;
            const double away = distance(outlines[loose], outlines[person]);
            if (away <= reach) found.push_back({away / extent, static_cast<int>(loose), static_cast<int>(person)});
        }
    }
    std::sort(found.begin(), found.end());
    return found;
}

}  // namespace

void gather_loose(const Peaks& peaks, const Settings& settings, std::vector<Members>& groups) {
    std::vector<Outline> outlines;
    for (const Members& members : groups) outlines.emplace_back(peaks, members);
    for (const Offer& offer : offers(outlines, settings)) {
        Members &loose = groups[offer.loose], &person = groups[offer.person];
        if (loose.empty() || person.empty() || share_a_joint(loose, person)) continue;
        take_in(person, loose);
    }
    groups.erase(std::remove(groups.begin(), groups.end(), Members{}), groups.end());
}

}  // namespace simplepose
