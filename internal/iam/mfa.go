package iam

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"rsc.io/qr"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// maxMFAPerUser is how many MFA devices a user or root can have.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const maxMFAPerUser = 8

// device finds a virtual MFA device of the caller's account and asks for
// authorization of the call on it.
func (s *Service) device(ctx context.Context, call *api.Call, serial string, v values) (*mfaDevice, error) {
	var d *mfaDevice
	found := s.Store.View(ctx, func(r store.Reader) (err error) {
		d, err = findMFA(r, call.Caller.Account, serial)
		return err
	})
	if found == nil {
		v.tags = d.Tags
	}
	if err := s.allow(ctx, call, serial, &v); err != nil {
		return nil, err
	}
	return d, noDevice(found, serial)
}

func noDevice(err error, serial string) error {
	return notFound(err, "VirtualMFADevice with serial number %s does not exist.", serial)
}

// changeDevice makes a change to a device. fn works on a fresh copy.
func (s *Service) changeDevice(ctx context.Context, call *api.Call, serial string, fn func(d *mfaDevice, tx store.Tx) error) error {
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		d, err := findMFA(tx, call.Caller.Account, serial)
		if err != nil {
			return noDevice(err, serial)
		}
		return fn(d, tx)
	})
}

// CreateVirtualMFADevice makes a device, whose seed is only shown now.
func (s *Service) CreateVirtualMFADevice(ctx context.Context, call *api.Call, in *sdk.CreateVirtualMFADeviceInput) (*sdk.CreateVirtualMFADeviceOutput, error) {
	d := &mfaDevice{account: call.Caller.Account, mfaRecord: mfaRecord{Name: *in.VirtualMFADeviceName, Path: path(in.Path), Seed: random(seedBytes), Created: call.Time}}
	if err := s.allowNew(ctx, call, "TagMFADevice", d.serial(), &values{given: in.Tags}); err != nil {
		return nil, err
	}
	var err error
	if d.Tags, err = mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	seed := base32.StdEncoding.EncodeToString(d.Seed)
	code, err := qr.Encode(otpauth(d.Name, d.account, seed), qr.M)
	if err != nil {
		return nil, err
	}
	out := &sdk.CreateVirtualMFADeviceOutput{VirtualMFADevice: &types.VirtualMFADevice{SerialNumber: aws.String(d.serial()),
		Base32StringSeed: []byte(seed), QRCodePNG: code.PNG(), Tags: sdkTags(d.Tags)}}
	call.Trail.Response = out
	return out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		if _, err := tx.Get(d.place()); err == nil {
			return awserr.New(awserr.EntityAlreadyExists, "MFADevice entity at the same path and name already exists.")
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		fresh := *d
		return fresh.write(tx)
	})
}

// otpauth is the URI that sets up an app for codes. The issuer stands in it twice,
// for old and new apps.
// https://github.com/google/google-authenticator/wiki/Key-Uri-Format
func otpauth(name, account, seed string) string {
	const issuer = "Kagimori"
	return fmt.Sprintf("otpauth://totp/%s:%s?secret=%s&issuer=%s", issuer, url.PathEscape(name+"@"+account), seed, issuer)
}

// holder is who an MFA device is to belong to: a user, by name, or the calling
// root.
func (s *Service) holder(ctx context.Context, call *api.Call, user string) (id string, err error) {
	if call.Caller.Type == api.Root && user == "" {
		return call.Caller.Account, s.allow(ctx, call, RootARN(call.Caller.Account), &values{})
	}
	e, err := s.entity(ctx, call, userKind, user, values{})
	if err != nil {
		return "", err
	}
	return e.id, nil
}

// mfaUser is the user that a request about MFA names; empty for the calling root,
// which is named by the account id, the word root or not at all.
func mfaUser(call *api.Call, name *string) string {
	if call.Caller.Type == api.Root && (name == nil || *name == "root" || *name == call.Caller.Account) {
		return ""
	}
	return aws.ToString(name)
}

// EnableMFADevice gives a device to a user or the root, who prove two codes, one
// after the other.
func (s *Service) EnableMFADevice(ctx context.Context, call *api.Call, in *sdk.EnableMFADeviceInput) (*sdk.EnableMFADeviceOutput, error) {
	owner, err := s.holder(ctx, call, mfaUser(call, in.UserName))
	if err != nil {
		return nil, err
	}
	return &sdk.EnableMFADeviceOutput{}, s.changeDevice(ctx, call, *in.SerialNumber, func(d *mfaDevice, tx store.Tx) error {
		if d.Owner != "" {
			return awserr.New(awserr.EntityAlreadyExists, "MFA Device is already in use.")
		}
		have, err := mfaOf(tx, owner)
		if err != nil {
			return err
		}
		if len(have) >= maxMFAPerUser {
			return quota("MFADevicesPerUser", maxMFAPerUser)
		}
		if err := d.sync(call, *in.AuthenticationCode1, *in.AuthenticationCode2); err != nil {
			return err
		}
		d.Owner, d.Enabled = owner, call.Time
		return d.write(tx)
	})
}

// syncWindow is by how many steps the clock of a device may be off when it proves
// two codes.
const syncWindow = 20

// sync finds out by how much the clock of the device is off.
func (d *mfaDevice) sync(call *api.Call, first, second string) error {
	now := totpStep(call.Time)
	step, ok := int64(0), isCode(first) && isCode(second)
	if ok {
		step, ok = findStep(d.Seed, max(now-syncWindow, d.LastStep+1), now+syncWindow, first, second)
	}
	if !ok {
		return awserr.New(awserr.InvalidAuthenticationCode, "Authentication code for device is not valid.")
	}
	d.LastStep = step
	if d.Drift = step - now; d.Drift >= -mfaSkew && d.Drift <= mfaSkew {
		d.Drift = 0
	}
	return nil
}

// ownDevice finds a device of a user or root, for a call that changes it.
func (s *Service) ownDevice(ctx context.Context, call *api.Call, user *string, serial string, fn func(d *mfaDevice, tx store.Tx) error) error {
	owner, err := s.holder(ctx, call, mfaUser(call, user))
	if err != nil {
		return err
	}
	return s.changeDevice(ctx, call, serial, func(d *mfaDevice, tx store.Tx) error {
		if d.Owner != owner {
			return noDevice(store.ErrNotFound, serial)
		}
		if err := fn(d, tx); err != nil {
			return err
		}
		return d.write(tx)
	})
}

// ResyncMFADevice sets the clock of a device right.
func (s *Service) ResyncMFADevice(ctx context.Context, call *api.Call, in *sdk.ResyncMFADeviceInput) (*sdk.ResyncMFADeviceOutput, error) {
	return &sdk.ResyncMFADeviceOutput{}, s.ownDevice(ctx, call, in.UserName, *in.SerialNumber, func(d *mfaDevice, _ store.Tx) error {
		return d.sync(call, *in.AuthenticationCode1, *in.AuthenticationCode2)
	})
}

// DeactivateMFADevice takes a device from its user or root.
func (s *Service) DeactivateMFADevice(ctx context.Context, call *api.Call, in *sdk.DeactivateMFADeviceInput) (*sdk.DeactivateMFADeviceOutput, error) {
	return &sdk.DeactivateMFADeviceOutput{}, s.ownDevice(ctx, call, in.UserName, *in.SerialNumber, func(d *mfaDevice, _ store.Tx) error {
		d.Owner = ""
		return nil
	})
}

// DeleteVirtualMFADevice deletes a device that nobody uses.
func (s *Service) DeleteVirtualMFADevice(ctx context.Context, call *api.Call, in *sdk.DeleteVirtualMFADeviceInput) (*sdk.DeleteVirtualMFADeviceOutput, error) {
	if _, err := s.device(ctx, call, *in.SerialNumber, values{}); err != nil {
		return nil, err
	}
	return &sdk.DeleteVirtualMFADeviceOutput{}, s.changeDevice(ctx, call, *in.SerialNumber, func(d *mfaDevice, tx store.Tx) error {
		if d.Owner != "" {
			return awserr.New(awserr.DeleteConflict, "MFA VirtualDevice in use. Must deactivate first.")
		}
		return tx.Delete(d.place(), d.revision)
	})
}

// owner is the user a device belongs to; nil for a root's and for one that nobody
// uses.
func (d *mfaDevice) owner(r store.Reader) (*entity, error) {
	if d.Owner == "" || d.Owner == d.account {
		return nil, nil
	}
	return userKind.read(r, d.account, d.Owner)
}

// ListMFADevices lists the devices of a user, or of the caller.
func (s *Service) ListMFADevices(ctx context.Context, call *api.Call, in *sdk.ListMFADevicesInput) (*sdk.ListMFADevicesOutput, error) {
	name := mfaUser(call, in.UserName)
	if name == "" && call.Caller.Type != api.Root {
		var err error
		if name, err = userName(call, nil); err != nil {
			return nil, err
		}
	}
	owner, err := s.holder(ctx, call, name)
	if err != nil {
		return nil, err
	}
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListMFADevicesOutput{MFADevices: []types.MFADevice{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		devices, err := mfaOf(r, owner)
		for _, d := range devices {
			if pg.take(fold(d.Name)) {
				out.MFADevices = append(out.MFADevices, types.MFADevice{SerialNumber: aws.String(d.serial()), EnableDate: &d.Enabled, UserName: aws.String(name)})
			}
		}
		return err
	})
	out.IsTruncated, out.Marker = pg.next()
	return out, err
}

// ListVirtualMFADevices lists the devices of the account.
func (s *Service) ListVirtualMFADevices(ctx context.Context, call *api.Call, in *sdk.ListVirtualMFADevicesInput) (*sdk.ListVirtualMFADevicesOutput, error) {
	account := call.Caller.Account
	if err := s.allow(ctx, call, arnOf(account, "mfa", "/", "*"), &values{}); err != nil {
		return nil, err
	}
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListVirtualMFADevicesOutput{VirtualMFADevices: []types.VirtualMFADevice{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		return listByName(r, mfaKind, account, pg.after, func(rec store.Record) error {
			d, err := decodeMFA(rec)
			if err != nil {
				return err
			}
			assigned := in.AssignmentStatus == types.AssignmentStatusTypeAssigned
			if in.AssignmentStatus != "" && in.AssignmentStatus != types.AssignmentStatusTypeAny && assigned != (d.Owner != "") {
				return nil
			}
			if !pg.take(fold(d.Name)) {
				if pg.more {
					return errPageFull
				}
				return nil
			}
			e, err := d.owner(r)
			if err != nil {
				return err
			}
			shown := types.VirtualMFADevice{SerialNumber: aws.String(d.serial())}
			switch {
			case e != nil:
				shown.User, shown.EnableDate = e.user(), &d.Enabled
			case d.Owner != "":
				shown.User, shown.EnableDate = &types.User{Arn: aws.String(RootARN(account)), UserId: &d.account}, &d.Enabled
			}
			out.VirtualMFADevices = append(out.VirtualMFADevices, shown)
			return nil
		})
	})
	out.IsTruncated, out.Marker = pg.next()
	return out, err
}

// GetMFADevice tells of a device. The permission is that on its user.
func (s *Service) GetMFADevice(ctx context.Context, call *api.Call, in *sdk.GetMFADeviceInput) (*sdk.GetMFADeviceOutput, error) {
	var d *mfaDevice
	var e *entity
	found := s.Store.View(ctx, func(r store.Reader) (err error) {
		if d, err = findMFA(r, call.Caller.Account, *in.SerialNumber); err == nil {
			e, err = d.owner(r)
		}
		return err
	})
	resource, v := *in.SerialNumber, values{}
	switch {
	case e != nil:
		resource, v.tags = e.arn(), e.Tags
	case found == nil && d.Owner != "":
		resource = RootARN(d.account)
	case in.UserName != nil:
		resource = arnOf(call.Caller.Account, userKind.word, "/", *in.UserName)
	}
	if err := s.allow(ctx, call, resource, &v); err != nil {
		return nil, err
	}
	if found == nil && in.UserName != nil && (e == nil || fold(e.Name) != fold(*in.UserName)) {
		found = store.ErrNotFound
	}
	if found != nil {
		return nil, noDevice(found, *in.SerialNumber)
	}
	out := &sdk.GetMFADeviceOutput{SerialNumber: in.SerialNumber}
	if d.Owner != "" {
		out.EnableDate = &d.Enabled
	}
	if e != nil {
		out.UserName = &e.Name
	}
	return out, nil
}

// TagMFADevice adds tags to a device.
func (s *Service) TagMFADevice(ctx context.Context, call *api.Call, in *sdk.TagMFADeviceInput) (*sdk.TagMFADeviceOutput, error) {
	if _, err := s.device(ctx, call, *in.SerialNumber, values{given: in.Tags}); err != nil {
		return nil, err
	}
	return &sdk.TagMFADeviceOutput{}, s.changeDevice(ctx, call, *in.SerialNumber, func(d *mfaDevice, tx store.Tx) (err error) {
		if d.Tags, err = mergeTags(d.Tags, in.Tags); err != nil {
			return err
		}
		return d.write(tx)
	})
}

// UntagMFADevice removes tags from a device.
func (s *Service) UntagMFADevice(ctx context.Context, call *api.Call, in *sdk.UntagMFADeviceInput) (*sdk.UntagMFADeviceOutput, error) {
	if _, err := s.device(ctx, call, *in.SerialNumber, values{givenKeys: in.TagKeys}); err != nil {
		return nil, err
	}
	return &sdk.UntagMFADeviceOutput{}, s.changeDevice(ctx, call, *in.SerialNumber, func(d *mfaDevice, tx store.Tx) error {
		d.Tags = removeTags(d.Tags, in.TagKeys)
		return d.write(tx)
	})
}

// ListMFADeviceTags lists the tags of a device.
func (s *Service) ListMFADeviceTags(ctx context.Context, call *api.Call, in *sdk.ListMFADeviceTagsInput) (*sdk.ListMFADeviceTagsOutput, error) {
	d, err := s.device(ctx, call, *in.SerialNumber, values{})
	if err != nil {
		return nil, err
	}
	out := new(sdk.ListMFADeviceTagsOutput)
	out.Tags, out.IsTruncated, out.Marker, err = listTags(d.Tags, in.Marker, in.MaxItems)
	return out, err
}
