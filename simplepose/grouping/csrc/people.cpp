// People: the groups that pass the thresholds, with their scores.

#include <algorithm>

#include "grouping.h"

namespace simplepose {
namespace {

double limb_score(const Limb& limb, const std::vector<Connection>& connections, const Members& members) {
    for (const Connection& connection : connections)
        if (connection.from == members[limb.from] && connection.to == members[limb.to]) return connection.score;
    return 0;
}

}  // namespace

std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings) {
    std::vector<Members> groups = merge_groups(peaks, limbs, connections);
    attach_unassigned(peaks, settings, groups);

    std::vector<Person> people;
    for (const Members& members : groups) {
        int joints = 0;
        double sum = 0;
        for (size_t joint = 0; joint < members.size(); ++joint) {
            if (members[joint] < 0) continue;
            ++joints;
            sum += peaks[joint][members[joint]].score;
        }
        if (joints < settings.min_person_keypoints) continue;
        for (size_t k = 0; k < limbs.size(); ++k) sum += limb_score(limbs[k], connections[k], members);
        if (sum < settings.min_person_score * joints) continue;
        people.push_back({members, sum / static_cast<double>(peaks.size() + limbs.size())});
    }
    std::stable_sort(people.begin(), people.end(), [](const Person& a, const Person& b) { return a.score > b.score; });
    return people;
}

}  // namespace simplepose
