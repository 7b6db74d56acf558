package iam

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// passwordIterations is how often PBKDF2 goes round (OWASP's advice for
// HMAC-SHA-256).
const passwordIterations = 600_000

// loginPassword is the password of a user, as the store keeps it: PBKDF2 with
// HMAC-SHA-256 (NIST SP 800-132).
type loginPassword struct {
	Salt       []byte    `json:"salt"`
	Iterations int       `json:"iterations"`
	Hash       []byte    `json:"hash"`
	Created    time.Time `json:"created"`
	Reset      bool      `json:"reset,omitempty"` // must be changed at the next login
}

func hashPassword(password string, salt []byte, iterations int) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
}

// newPassword makes a password for a user. It takes its time, so it is made before
// the transaction that stores it.
func newPassword(password, user string) (*loginPassword, error) {
	if err := checkPassword(password, user); err != nil {
		return nil, err
	}
	salt := random(16)
	hash, err := hashPassword(password, salt, passwordIterations)
	return &loginPassword{Salt: salt, Iterations: passwordIterations, Hash: hash}, err
}

// setPassword gives the user a password in place of the one there is.
func (e *entity) setPassword(login *loginPassword, reset bool) {
	fresh := *login
	fresh.Created, fresh.Reset = e.Login.Created, reset
	e.Login = &fresh
}

// is tells whether the password is that one.
func (l *loginPassword) is(password string) bool {
	hash, err := hashPassword(password, l.Salt, l.Iterations)
	return err == nil && subtle.ConstantTimeCompare(hash, l.Hash) == 1
}

// checkPassword holds a password against AWS's default password policy.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html
func checkPassword(password, user string) error {
	n := utf8.RuneCountInString(password)
	if n < 8 || n > 128 {
		return awserr.New(awserr.PasswordPolicyViolation, "Password should have a minimum length of 8 and at most 128 characters")
	}
	kinds := 0
	for _, chars := range []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789", "!@#$%^&*()_+-=[]{}|'"} {
		if strings.ContainsAny(password, chars) {
			kinds++
		}
	}
	if kinds < 3 {
		return awserr.New(awserr.PasswordPolicyViolation, "Password should have three of uppercase letters, lowercase letters, numbers and the characters ! @ # $ % ^ & * ( ) _ + - = [ ] { } | '")
	}
	if strings.EqualFold(password, user) {
		return awserr.New(awserr.PasswordPolicyViolation, "Password should not be the user name")
	}
	return nil
}

func (e *entity) loginProfile() *types.LoginProfile {
	return &types.LoginProfile{UserName: &e.Name, CreateDate: &e.Login.Created, PasswordResetRequired: e.Login.Reset}
}

func noLogin(name string) error {
	return notFound(store.ErrNotFound, "Login Profile for User %s cannot be found.", name)
}

// CreateLoginProfile gives a user a password for the console.
func (s *Service) CreateLoginProfile(ctx context.Context, call *api.Call, in *sdk.CreateLoginProfileInput) (*sdk.CreateLoginProfileOutput, error) {
	e, err := s.userOrCaller(ctx, call, in.UserName)
	if err != nil {
		return nil, err
	}
	login, err := newPassword(aws.ToString(in.Password), e.Name)
	if err != nil {
		return nil, err
	}
	login.Created, login.Reset = call.Time, in.PasswordResetRequired
	var out sdk.CreateLoginProfileOutput
	return &out, s.change(ctx, call, e, func(e *entity, _ store.Tx) error {
		if e.Login != nil {
			return awserr.New(awserr.EntityAlreadyExists, "Login Profile for user %s already exists.", e.Name)
		}
		e.Login = login
		out.LoginProfile = e.loginProfile()
		call.Trail.Response = &out
		return nil
	})
}

// GetLoginProfile tells whether a user has a password.
func (s *Service) GetLoginProfile(ctx context.Context, call *api.Call, in *sdk.GetLoginProfileInput) (*sdk.GetLoginProfileOutput, error) {
	e, err := s.userOrCaller(ctx, call, in.UserName)
	if err != nil {
		return nil, err
	}
	if e.Login == nil {
		return nil, noLogin(e.Name)
	}
	return &sdk.GetLoginProfileOutput{LoginProfile: e.loginProfile()}, nil
}

// UpdateLoginProfile changes the password of a user, or that it must be changed.
func (s *Service) UpdateLoginProfile(ctx context.Context, call *api.Call, in *sdk.UpdateLoginProfileInput) (*sdk.UpdateLoginProfileOutput, error) {
	e, err := s.entity(ctx, call, userKind, *in.UserName, values{})
	if err != nil {
		return nil, err
	}
	var login *loginPassword
	if in.Password != nil {
		if login, err = newPassword(*in.Password, e.Name); err != nil {
			return nil, err
		}
	}
	return &sdk.UpdateLoginProfileOutput{}, s.change(ctx, call, e, func(e *entity, _ store.Tx) error {
		if e.Login == nil {
			return noLogin(e.Name)
		}
		if login != nil {
			e.setPassword(login, e.Login.Reset)
		}
		if in.PasswordResetRequired != nil {
			e.Login.Reset = *in.PasswordResetRequired
		}
		return nil
	})
}

// DeleteLoginProfile takes the password from a user.
func (s *Service) DeleteLoginProfile(ctx context.Context, call *api.Call, in *sdk.DeleteLoginProfileInput) (*sdk.DeleteLoginProfileOutput, error) {
	name, err := userName(call, in.UserName)
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteLoginProfileOutput{}, s.update(ctx, call, userKind, name, values{}, func(e *entity, _ store.Tx) error {
		if e.Login == nil {
			return noLogin(e.Name)
		}
		e.Login = nil
		return nil
	})
}

// ChangePassword changes the password of the calling user.
func (s *Service) ChangePassword(ctx context.Context, call *api.Call, in *sdk.ChangePasswordInput) (*sdk.ChangePasswordOutput, error) {
	if call.Caller.Type != api.IAMUser {
		return nil, awserr.New(awserr.InvalidUserType, "Only IAM Users can change their own password")
	}
	e, err := s.entity(ctx, call, userKind, call.Caller.UserName, values{})
	if err != nil {
		return nil, err
	}
	if e.Login == nil {
		return nil, noLogin(e.Name)
	}
	if !e.Login.is(*in.OldPassword) {
		return nil, awserr.New(awserr.AccessDenied, "The old password was incorrect.")
	}
	login, err := newPassword(*in.NewPassword, e.Name)
	if err != nil {
		return nil, err
	}
	old := e.Login.Hash
	return &sdk.ChangePasswordOutput{}, s.change(ctx, call, e, func(e *entity, _ store.Tx) error {
		if e.Login == nil || !bytes.Equal(e.Login.Hash, old) {
			return awserr.New(awserr.EntityTemporarilyUnmodifiable, "The password of user %s was changed by another call at the same time. Try again.", e.Name)
		}
		e.setPassword(login, false)
		return nil
	})
}
