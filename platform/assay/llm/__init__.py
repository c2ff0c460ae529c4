"""The only way to an LLM API, for judges, taggers and synthetic rows alike.

`gateway.open_gateway` gives a `Gateway`; it asks through one limiter per endpoint and account (`limits`,
`ray_limits`), stores every reply before it is used (`ledger`, `ray_ledger`), and stops at a budget.
"""
