package iam

import "github.com/kagimori/kagimori/internal/api"

// entityHandlers answer for users, groups, roles and their policies.
func (s *Service) entityHandlers() map[string]api.Handler { return map[string]api.Handler{} }
