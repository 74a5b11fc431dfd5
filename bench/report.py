def render(results, plan, command):
    return ""
