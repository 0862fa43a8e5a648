"""Occlusion labels: part renders, the h2onet and depth rules, pictures of a label."""
