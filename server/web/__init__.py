"""HTTP in and out: HTML, cookies, CSRF. The only ring that imports Flask, cut by audience."""
