// The published assembly: limb by limb in the skeleton's order, each limb given to who holds its ends.

#include <algorithm>
#include <cmath>

#include "reference.h"

namespace simplepose::reference {
namespace {

constexpr double LENGTH_RATIO = 16;  // a limb is shorter than so many times its person's longest
constexpr double LEAST_JOIN = 0.7;   // a limb joins two people from this share of their weakest on

struct Member {
    int peak = -1;
    double limb_score = 0;  // of the limb that brought it
};

struct Candidate {
    std::vector<Member> members;  // of each joint
    int joints = 0;
    double score = 0;    // of joints and limbs together
    double longest = 0;  // limb, cells

    bool holds(int joint, int peak) const { return members[joint].peak == peak; }
};

// One limb's connection between two peaks.
struct Found {
    Limb limb;
    Connection ends;
    double length;         // cells
    double to_peak_score;  // of the peak at its second end
};

bool short_enough(const Candidate& person, const Found& found) {
    return found.length < LENGTH_RATIO * person.longest;
}

void give_second_end(Candidate& person, const Found& found) {
    person.members[found.limb.to] = {found.ends.to, found.ends.score};
    person.longest = std::max(person.longest, found.length);
}

// Fault, kept: a person who holds the second end only is never given the first.
void extend(Candidate& person, const Found& found, const Peaks& peaks) {
    const Member held = person.members[found.limb.to];
    if (held.peak == found.ends.to) {
        if (held.limb_score > found.ends.score) return;
        person.score += found.ends.score - held.limb_score;
    } else if (!short_enough(person, found)) {
        return;
    } else if (held.peak < 0) {
        person.score += found.to_peak_score + found.ends.score;
        ++person.joints;
    } else {
        if (held.limb_score >= found.ends.score) return;
        person.score -= peaks[found.limb.to][held.peak].score + held.limb_score;
        person.score += found.to_peak_score + found.ends.score;
    }
    give_second_end(person, found);
}

double weakest_limb(const Candidate& person) {
    double weakest = INFINITY;
    for (const Member& member : person.members)
        if (member.peak >= 0) weakest = std::min(weakest, member.limb_score);
    return weakest;
}

bool may_join(const Candidate& a, const Candidate& b, const Found& found) {
    for (size_t joint = 0; joint < a.members.size(); ++joint)
        if (a.members[joint].peak >= 0 && b.members[joint].peak >= 0) return false;
    return found.ends.score >= LEAST_JOIN * std::min(weakest_limb(a), weakest_limb(b)) && short_enough(a, found);
}

void join(Candidate& person, const Candidate& other, const Found& found) {
    for (size_t joint = 0; joint < person.members.size(); ++joint)
        if (other.members[joint].peak >= 0) person.members[joint] = other.members[joint];
    person.joints += other.joints;
    person.score += other.score + found.ends.score;
    person.longest = std::max(person.longest, found.length);  // the other's own is forgotten: published
}

Candidate new_person(const Found& found, const Peaks& peaks) {
    Candidate person;
    person.members.resize(peaks.size());
    person.members[found.limb.from] = {found.ends.from, found.ends.score};
    person.joints = 2;
    person.score = peaks[found.limb.from][found.ends.from].score + found.to_peak_score + found.ends.score;
    give_second_end(person, found);
    return person;
}

// The first two who hold either end; a peak may be in several people, and is then counted in each (published).
std::vector<size_t> holders(const std::vector<Candidate>& people, const Found& found) {
    std::vector<size_t> numbers;
    for (size_t p = 0; p < people.size() && numbers.size() < 2; ++p)
        if (people[p].holds(found.limb.from, found.ends.from) || people[p].holds(found.limb.to, found.ends.to))
            numbers.push_back(p);
    return numbers;
}

void add(std::vector<Candidate>& people, const Found& found, const Peaks& peaks) {
    const std::vector<size_t> held_by = holders(people, found);
    if (held_by.empty()) {
        people.push_back(new_person(found, peaks));
    } else if (held_by.size() == 1) {
        extend(people[held_by[0]], found, peaks);
    } else if (may_join(people[held_by[0]], people[held_by[1]], found)) {
        join(people[held_by[0]], people[held_by[1]], found);
        people.erase(people.begin() + static_cast<std::ptrdiff_t>(held_by[1]));
    }
}

Person shown(const Candidate& candidate) {
    Person person{{}, 1 - 1 / candidate.score};
    for (const Member& member : candidate.members) person.peaks.push_back(member.peak);
    return person;
}

}  // namespace

std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings) {
    std::vector<Candidate> candidates;
    for (size_t k = 0; k < limbs.size(); ++k) {
        for (const Connection& ends : connections[k]) {
            const Peak &from = peaks[limbs[k].from][ends.from], &to = peaks[limbs[k].to][ends.to];
            add(candidates, {limbs[k], ends, std::hypot(to.x - from.x, to.y - from.y), to.score}, peaks);
        }
    }
    std::vector<Person> people;
    for (const Candidate& candidate : candidates)
        if (candidate.joints >= settings.person_joints && candidate.score >= settings.person_score * candidate.joints)
            people.push_back(shown(candidate));
    std::stable_sort(people.begin(), people.end(), [](const Person& a, const Person& b) { return a.score > b.score; });
    return people;
}

}  // namespace simplepose::reference
