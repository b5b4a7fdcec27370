"""The auditor's side: everything verified offline, by trust roots of one's own."""
