// The published assembly: limb by limb in the skeleton's order, each limb added to the people with its ends.

#include <algorithm>
#include <cmath>

#include "reference.h"

namespace simplepose::reference {
namespace {

constexpr double MAX_LENGTH_RATIO = 16;  // of a limb's length to its person's longest limb
constexpr double MIN_MERGE_RATIO = 0.7;  // of a limb's score to the weakest limb of the two people that it merges

struct Member {
    int peak = -1;
    double limb_score = 0;  // of the limb that added the peak
};

struct PersonCandidate {
    std::vector<Member> members;  // one per joint
    int joints = 0;
    double score = 0;    // sum over joints and limbs
    double longest = 0;  // longest limb, in cells

    bool has_peak(int joint, int peak) const { return members[joint].peak == peak; }
};

// A connection with its limb.
struct LimbConnection {
    Limb limb;
    Connection ends;
    double length;         // in cells
    double to_peak_score;  // of the peak at the second end
};

bool is_short_enough(const PersonCandidate& person, const LimbConnection& connection) {
    return connection.length < MAX_LENGTH_RATIO * person.longest;
}

void set_second_end(PersonCandidate& person, const LimbConnection& connection) {
    person.members[connection.limb.to] = {connection.ends.to, connection.ends.score};
    person.longest = std::max(person.longest, connection.length);
}

// A fault of the published code is kept: a person with only the second end never gets the first end.
void extend(PersonCandidate& person, const LimbConnection& connection, const Peaks& peaks) {
    const Member member = person.members[connection.limb.to];
    if (member.peak == connection.ends.to) {
        if (member.limb_score > connection.ends.score) return;
        person.score += connection.ends.score - member.limb_score;
    } else if (!is_short_enough(person, connection)) {
        return;
    } else if (member.peak < 0) {
        person.score += connection.to_peak_score + connection.ends.score;
        ++person.joints;
    } else {
        if (member.limb_score >= connection.ends.score) return;
        person.score -= peaks[connection.limb.to][member.peak].score + member.limb_score;
        person.score += connection.to_peak_score + connection.ends.score;
    }
    set_second_end(person, connection);
}

double weakest_limb(const PersonCandidate& person) {
    double weakest = INFINITY;
    for (const Member& member : person.members)
        if (member.peak >= 0) weakest = std::min(weakest, member.limb_score);
    return weakest;
}

bool can_merge(const PersonCandidate& a, const PersonCandidate& b, const LimbConnection& connection) {
    for (size_t joint = 0; joint < a.members.size(); ++joint)
        if (a.members[joint].peak >= 0 && b.members[joint].peak >= 0) return false;
    return connection.ends.score >= MIN_MERGE_RATIO * std::min(weakest_limb(a), weakest_limb(b)) &&
           is_short_enough(a, connection);
}

void merge(PersonCandidate& person, const PersonCandidate& other, const LimbConnection& connection) {
    for (size_t joint = 0; joint < person.members.size(); ++joint)
        if (other.members[joint].peak >= 0) person.members[joint] = other.members[joint];
    person.joints += other.joints;
    person.score += other.score + connection.ends.score;
    person.longest = std::max(person.longest, connection.length);  // ignores the other person's (published)
}

PersonCandidate new_person(const LimbConnection& connection, const Peaks& peaks) {
    PersonCandidate person;
    person.members.resize(peaks.size());
    person.members[connection.limb.from] = {connection.ends.from, connection.ends.score};
    person.joints = 2;
    person.score = peaks[connection.limb.from][connection.ends.from].score + connection.to_peak_score +
                   connection.ends.score;
    set_second_end(person, connection);
    return person;
}

// Finds the first two people with either end. A peak may be in several people and counts in each (published).
std::vector<size_t> find_people_with_ends(const std::vector<PersonCandidate>& people,
                                          const LimbConnection& connection) {
    std::vector<size_t> indices;
    for (size_t p = 0; p < people.size() && indices.size() < 2; ++p)
        if (people[p].has_peak(connection.limb.from, connection.ends.from) ||
            people[p].has_peak(connection.limb.to, connection.ends.to))
            indices.push_back(p);
    return indices;
}

void add(std::vector<PersonCandidate>& people, const LimbConnection& connection, const Peaks& peaks) {
    const std::vector<size_t> indices = find_people_with_ends(people, connection);
    if (indices.empty()) {
        people.push_back(new_person(connection, peaks));
    } else if (indices.size() == 1) {
        extend(people[indices[0]], connection, peaks);
    } else if (can_merge(people[indices[0]], people[indices[1]], connection)) {
        merge(people[indices[0]], people[indices[1]], connection);
        people.erase(people.begin() + static_cast<std::ptrdiff_t>(indices[1]));
    }
}

Person to_person(const PersonCandidate& candidate) {
    Person person{{}, 1 - 1 / candidate.score};
    for (const Member& member : candidate.members) person.peaks.push_back(member.peak);
    return person;
}

}  // namespace

std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings) {
    std::vector<PersonCandidate> candidates;
    for (size_t k = 0; k < limbs.size(); ++k) {
        for (const Connection& ends : connections[k]) {
            const Peak &from = peaks[limbs[k].from][ends.from], &to = peaks[limbs[k].to][ends.to];
            add(candidates, {limbs[k], ends, std::hypot(to.x - from.x, to.y - from.y), to.score}, peaks);
        }
    }
    std::vector<Person> people;
    for (const PersonCandidate& candidate : candidates)
        if (candidate.joints >= settings.min_person_keypoints &&
            candidate.score >= settings.min_person_score * candidate.joints)
            people.push_back(to_person(candidate));
    std::stable_sort(people.begin(), people.end(), [](const Person& a, const Person& b) { return a.score > b.score; });
    return people;
}

}  // namespace simplepose::reference
