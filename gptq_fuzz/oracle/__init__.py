"""From a kernel's answer to a Verdict: one case examined, judged and explained."""
