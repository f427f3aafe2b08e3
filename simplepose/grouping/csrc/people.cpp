// People: limbs that share joints belong to one person.

#include <algorithm>

#include "grouping.h"

namespace simplepose {
namespace {

// A person while it grows. Each limb is counted once, in its own place.
struct Body {
    std::vector<int> peaks;          // of each joint, or -1
    std::vector<double> limb_scores;  // 0 where there is none
    std::vector<double> limb_lengths;

    double longest() const { return *std::max_element(limb_lengths.begin(), limb_lengths.end()); }
    double weakest() const {
        double least = 0;
        for (double score : limb_scores)
            if (score > 0 && (least == 0 || score < least)) least = score;
        return least;
    }
};

class Assembly {
public:
    Assembly(const Peaks& peaks, const std::vector<Limb>& limbs, const Settings& settings)
        : peaks_(peaks), limbs_(limbs), settings_(settings) {
        for (const auto& of_joint : peaks) owners_.emplace_back(of_joint.size(), -1);
    }

    // Gives a connection of limb `k` to whoever holds its ends, if it fits.
    void add(size_t k, const Connection& connection) {
        const auto [from, to] = limbs_[k];
        const int a = owners_[from][connection.from], b = owners_[to][connection.to];
        if (a < 0 && b < 0) {
            const int person = static_cast<int>(bodies_.size());
            bodies_.push_back({std::vector<int>(peaks_.size(), -1), std::vector<double>(limbs_.size()),
                               std::vector<double>(limbs_.size())});
            hold(person, from, connection.from);
            hold(person, to, connection.to);
            record(person, k, connection);
        } else if (a == b) {
            record(a, k, connection);
        } else if (a >= 0 && b >= 0) {
            if (may_merge(a, b, connection)) {
                merge(a, b);
                record(a, k, connection);
            }
        } else if (a >= 0) {
            extend(a, k, connection, to, connection.to);
        } else {
            extend(b, k, connection, from, connection.from);
        }
    }

    std::vector<Person> people() const {
        std::vector<Person> people;
        for (const Body& body : bodies_) {
            int joints = 0;
            double sum = 0;
            for (size_t j = 0; j < body.peaks.size(); ++j) {
                if (body.peaks[j] < 0) continue;
                ++joints;
                sum += peaks_[j][body.peaks[j]].score;
            }
            for (double score : body.limb_scores) sum += score;
            if (joints >= std::max(settings_.person_joints, 1) && sum / joints >= settings_.person_score)
                people.push_back({body.peaks, sum / joints});
        }
        std::stable_sort(people.begin(), people.end(),
                         [](const Person& a, const Person& b) { return a.score > b.score; });
        return people;
    }

private:
    void hold(int person, int joint, int peak) {
        bodies_[person].peaks[joint] = peak;
        owners_[joint][peak] = person;
    }

    void record(int person, size_t k, const Connection& connection) {
        bodies_[person].limb_scores[k] = connection.score;
        bodies_[person].limb_lengths[k] = connection.length;
    }

    bool short_enough(const Body& body, double length) const {
        return length < settings_.length_ratio * body.longest();
    }

    void extend(int person, size_t k, const Connection& connection, int joint, int peak) {
        Body& body = bodies_[person];
        if (!short_enough(body, connection.length)) return;
        if (body.peaks[joint] >= 0) {
            if (strongest_limb(body, joint) >= connection.score) return;
            release(body, joint);
        }
        hold(person, joint, peak);
        record(person, k, connection);
    }

    double strongest_limb(const Body& body, int joint) const {
        double best = 0;
        for (size_t k = 0; k < limbs_.size(); ++k)
            if (limbs_[k].from == joint || limbs_[k].to == joint) best = std::max(best, body.limb_scores[k]);
        return best;
    }

    void release(Body& body, int joint) {
        owners_[joint][body.peaks[joint]] = -1;
        for (size_t k = 0; k < limbs_.size(); ++k)
            if (limbs_[k].from == joint || limbs_[k].to == joint) body.limb_scores[k] = body.limb_lengths[k] = 0;
    }

    bool may_merge(int a, int b, const Connection& connection) const {
        const Body &first = bodies_[a], &second = bodies_[b];
        for (size_t j = 0; j < first.peaks.size(); ++j)
            if (first.peaks[j] >= 0 && second.peaks[j] >= 0) return false;
        const double weakest = std::min(first.weakest(), second.weakest());
        return connection.score >= settings_.merge_ratio * weakest && short_enough(first, connection.length) &&
               short_enough(second, connection.length);
    }

    void merge(int a, int b) {
        Body& second = bodies_[b];
        for (size_t j = 0; j < second.peaks.size(); ++j)
            if (second.peaks[j] >= 0) hold(a, static_cast<int>(j), second.peaks[j]);
        for (size_t k = 0; k < limbs_.size(); ++k) {
            if (second.limb_scores[k] == 0) continue;
            bodies_[a].limb_scores[k] = second.limb_scores[k];
            bodies_[a].limb_lengths[k] = second.limb_lengths[k];
        }
        second = {std::vector<int>(peaks_.size(), -1), std::vector<double>(limbs_.size()),
                  std::vector<double>(limbs_.size())};
    }

    const Peaks& peaks_;
    const std::vector<Limb>& limbs_;
    const Settings& settings_;
    std::vector<Body> bodies_;
    std::vector<std::vector<int>> owners_;  // of each peak of each joint: a person, or -1
};

}  // namespace

std::vector<Person> assemble_people(const Peaks& peaks, const std::vector<Limb>& limbs,
                                    const Connections& connections, const Settings& settings) {
    Assembly assembly(peaks, limbs, settings);
    for (size_t k = 0; k < limbs.size(); ++k)
        for (const Connection& connection : connections[k]) assembly.add(k, connection);
    return assembly.people();
}

}  // namespace simplepose
