#include "../core/block.h"
#include "runtime.h"

namespace regkd {

std::string refusal(const Network& net, const char* name) {
    if (net.layers < 1 || net.layers > kMaxLayers)
        return std::string("the ") + name + " has " + std::to_string(net.layers) + " layers, the fused core has 1 to " +
               std::to_string(kMaxLayers);
    if (net.activation < 0 || net.activation >= kActivations)
        return std::string("the ") + name + "'s activation is not one of the fused core's";
    for (int l = 0; l <= net.layers; ++l) {
        if (net.widths[l] < 1)
            return std::string("the ") + name + " has a layer of width " + std::to_string(net.widths[l]);
        if (l > 0 && l < net.layers && net.widths[l] > kMaxWidth)
            return std::string("the ") + name + " has a layer of " + std::to_string(net.widths[l]) +
                   " units, the fused core has at most " + std::to_string(kMaxWidth);
    }
    return "";
}

std::string refusal(const Job& job) {
    const auto active = [&](int term) { return job.weight[term].start != 0 || job.weight[term].end != 0; };
    std::string why = refusal(job.student, "student");
    if (!why.empty()) return why;
    const bool teacher = job.teacher.layers != 0;
    if (teacher) {
        why = refusal(job.teacher, "teacher");
        if (!why.empty()) return why;
        if (job.teacher.widths[0] != job.student.widths[0] ||
            job.teacher.widths[job.teacher.layers] != job.student.widths[job.student.layers])
            return "teacher and student differ in inputs or outputs";
    }
    if (job.base < 0 || job.base >= kBases) return "the base is not one of the fused core's";
    if (job.optimizer < 0 || job.optimizer >= kOptimizers) return "the optimizer is not one of the fused core's";
    if (job.rate_schedule < 0 || job.rate_schedule >= kRateSchedules)
        return "the learning rate's schedule is not one of the fused core's";
    if (job.ascent_rule < 0 || job.ascent_rule >= kAscentRules) return "the ascent rule is not one of the fused core's";
    if (job.batch < 1) return "a step needs a batch of at least 1 point";
    if (job.x && (job.rows < 1 || job.rows > INT32_MAX)) return "the fused core takes 1 to 2^31 - 1 rows";
    if (job.draws < 0 || job.draws > 65535 || job.ascent_steps < 0)
        return "draws must be 0 to 65535 and ascent steps at least 0";
    if (job.cotangents < 0 || static_cast<int64_t>(job.cotangents) * (job.draws + 2) > 65535)
        return "cotangents times (draws + 2) must not pass 65535";
    for (int i = 0; i < kTerms; ++i)
        if (job.weight[i].hold < 1) return "a weight must be held for at least 1 step";
    if (job.total_steps < 1) return "the run's total number of steps must be at least 1";
    if ((active(kTermPm) || active(kTermAbm) || active(kTermGm)) && !teacher)
        return "matching terms need a teacher that is an MLP";
    if (active(kTermPm) && job.draws < 1) return "perturbation matching needs at least 1 draw";
    if (active(kTermPm) && !job.sigma) return "perturbation matching needs sigma";
    if (active(kTermGm) && job.draws > 0 && (job.gm_on & 2) && !job.sigma) return "perturbed points need sigma";
    if (active(kTermBase) && job.base != kNone) {
        const bool reads_t = (job.base == kSquares && (job.row_b || job.base_b != 0)) ||
                             (job.base == kTbr && job.imitate) || (job.base == kTor && !job.drop_outliers);
        const bool reads_y = job.base != kSquares || job.row_a || job.base_a != 0;
        if (reads_y && (!job.y || !job.x)) return "this base needs labelled rows";
        if (reads_t && !teacher && !job.t) return "this base needs a teacher, or its stored answers";
        if (job.base == kTbr && !job.row_error) return "tbr needs the teacher's error of every row";
        if (job.base == kTor && !job.row_outlier) return "tor needs the outlier flag of every row";
    }
    bool any = active(kTermBase) && job.base != kNone;
    for (int i = kTermPm; i < kTerms; ++i) any = any || active(i);
    if (!any) return "no term of the objective is active";
    if (active(kTermGm) && !host::any_gm(job)) return "gradients are to be matched on points that no active term makes";
    return "";
}

}  // namespace regkd
