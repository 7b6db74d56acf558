package iam

import "github.com/kagimori/kagimori/internal/api"

// servicePath is that of service-linked roles and of the policies for them alone.
const servicePath = "/aws-service-role/"

// accountHandlers answer for what belongs to an account as a whole.
func (s *Service) accountHandlers() map[string]api.Handler { return map[string]api.Handler{} }

// loginPassword is the password of a user, as the store keeps it.
type loginPassword struct{}
