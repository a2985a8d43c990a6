"""Who may do what, and what nobody may: two tenants on one store, and those who are neither."""
