"""HumanEval (Chen et al. 2021): one turn, one case, trusted tests kept apart from the untrusted answer."""
