"""Two evaluations held against each other: is it better, on which labels, may it be promoted?"""
