//! Which pods a new node of each group would take, and why not the others.

use super::equivalence::Class;
use super::estimate::Load;
use super::group::{GroupFacts, NodeTemplate};
use super::plan::NoHelp;
use super::template;
use crate::placement::{
    Company, NodeState, Obstacle, PodFacts, Refusal, Refused, Remedy, Snapshot,
};

/// What each group's new nodes say to each class: by group, then by class; `None` = taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Fits {
    refused: Vec<Vec<Option<Refused>>>,
}

impl Fits {
    /// Asks a new node of every group. The snapshot is as before afterwards.
    pub(super) fn of(snapshot: &mut Snapshot, groups: &[GroupFacts], load: &Load<'_>) -> Self {
        let each = groups.iter().map(|group| match &group.template {
            Some(template) => of_group(snapshot, template, load),
            None => vec![None; load.classes.len()],
        });
        Self {
            refused: each.collect(),
        }
    }

    /// Whether a new node of the group takes pods of the class.
    pub(super) fn takes(&self, group: usize, class: usize) -> bool {
        self.refusal(group, class).is_none()
    }

    pub(super) fn refusal(&self, group: usize, class: usize) -> Option<&Refused> {
        self.refused.get(group)?.get(class)?.as_ref()
    }
}

/// The classes that a new node like the template takes.
pub(super) fn taken_by(
    snapshot: &mut Snapshot,
    template: &NodeTemplate,
    load: &Load<'_>,
) -> Vec<usize> {
    let answers = of_group(snapshot, template, load).into_iter().enumerate();
    let taken = answers.filter(|(_, refused)| refused.is_none());
    taken.map(|(class, _)| class).collect()
}

fn of_group(
    snapshot: &mut Snapshot,
    template: &NodeTemplate,
    load: &Load<'_>,
) -> Vec<Option<Refused>> {
    let alone = NodeState::alone(template.node.clone(), &template.daemons);
    let shy = |pod: &PodFacts| !pod.spec.pod_anti_affinity.required.is_empty();
    let shy_daemons = template.daemons.iter().any(shy);
    let by_itself = |class: &Class| class.company == Company::Indifferent && !shy_daemons;
    let mut put = false;
    let mut answers = Vec::with_capacity(load.classes.len());
    for (at, class) in load.classes.iter().enumerate() {
        let Some(pod) = load.exemplar(at) else {
            answers.push(None);
            continue;
        };
        let refused = snapshot.refusal_alone(&pod.spec, &alone);
        if refused.is_some() || by_itself(class) {
            answers.push(refused);
            continue;
        }
        if !put {
            snapshot.fork();
            template::put(snapshot, template, &template.node.name);
            put = true;
        }
        answers.push(snapshot.refusal_on(pod, &template.node.name));
    }
    if put {
        snapshot.revert();
    }
    answers
}

/// Why a new node of the group does not help, with what is missing.
pub(super) fn no_help(
    snapshot: &Snapshot,
    group: &GroupFacts,
    pod: &PodFacts,
    refused: &Refused,
) -> NoHelp {
    let spec = &pod.spec;
    let mut shortage = Vec::new();
    if let Some(template) = &group.template {
        let alone = NodeState::alone(template.node.clone(), &template.daemons);
        for obstacle in snapshot.obstacles_alone(spec, &alone) {
            shortage.extend(in_words(&obstacle, group));
        }
        if refused.reasons.contains(&Refusal::NoDevices) {
            let missing = snapshot.devices_missing(&pod.namespace, spec, &alone);
            let said = |what: &String| format!("a new node of {}: {what}", group.id);
            shortage.extend(missing.iter().map(said));
        }
    }
    NoHelp::Refused {
        reasons: refused.reasons.clone(),
        shortage: shortage.join("; "),
    }
}

fn in_words(obstacle: &Obstacle, group: &GroupFacts) -> Option<String> {
    let group = &group.id;
    Some(match &obstacle.remedy {
        Remedy::Free(short) | Remedy::LargerNode(short) => {
            let (resource, wanted, free) = (&short.resource, &short.wanted, &short.free);
            format!("needs {resource} {wanted}, a new node of {group} has {free} free")
        }
        Remedy::Tolerate(taints) => format!("does not tolerate {}", taints.join(", ")),
        Remedy::Label(labels) => {
            format!("a new node of {group} lacks {}", labels.join(", "))
        }
        Remedy::FreePlace(pods) => {
            format!("a new node of {group} runs no more than {pods} pods, which daemons fill")
        }
        Remedy::FreePorts(ports) => format!("daemons use host ports {}", ports.join(", ")),
        Remedy::Uncordon if obstacle.reason == Refusal::Unschedulable => {
            format!("nodes of {group} are cordoned")
        }
        Remedy::Uncordon
        | Remedy::Move(_)
        | Remedy::Precede(_)
        | Remedy::Devices(_)
        | Remedy::Nothing => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::equivalence::classes;
    use crate::cluster::testing::{group, pending, spec, template};

    #[test]
    fn what_is_missing_is_said_with_numbers() {
        let mut of = template("t", 1000, 1 << 30);
        of.daemons
            .push(PodFacts::new("kube-system", "proxy", spec(80, 0)));
        let groups = [group("ng1", (0, 3), of)];
        let pods = pending("web", 1, spec(2000, 1));
        let mut snapshot = Snapshot::default();
        let classes = classes(&mut snapshot, &pods, &[0]);
        let load = Load {
            pods: &pods,
            classes: &classes,
            fitting: &[],
        };
        let fits = Fits::of(&mut snapshot, &groups, &load);
        let refused = fits.refusal(0, 0).unwrap();
        let no_help = no_help(&snapshot, &groups[0], &pods[0].pod, refused);
        assert_eq!(no_help.phrases(), ["Insufficient cpu"]);
        let NoHelp::Refused { shortage, .. } = no_help else {
            panic!("refused");
        };
        assert_eq!(shortage, "needs cpu 2, a new node of ng1 has 920m free");
    }
}
