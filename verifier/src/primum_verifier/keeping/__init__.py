"""What a device keeps to between two verdicts; pure like the core, and none of it in a verdict.

Which release engineering means for it (:mod:`rollout`), whom it believes (:mod:`trust_map`), which
notices it may not lose (:mod:`kept_notices`), and whom what runs may serve (:mod:`episode`).
"""
